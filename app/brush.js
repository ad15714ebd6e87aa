// Strokes of a mouse, a finger or a pen on the element's canvas, with undo and clear. `pen` is the context that keeps
// them, of that canvas or of another as large; `wipe` empties it, and `changed` is told of every change.
// Gives what was there `before` each stroke, and `act`, which makes another change that Undo takes back.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const brush = (pen, wipe, changed) => {
  const [undo, clear] = element.querySelectorAll("button");
  const before = []; // what was there before each stroke
  let last = null;
  const remember = () => {
    before.push(pen.getImageData(0, 0, canvas.width, canvas.height));
    if (before.length > 30) before.shift();
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  const stroke = (to) => {
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...to);
    pen.stroke();
    last = to;
    changed();
  };
  pen.lineCap = pen.lineJoin = "round";
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = place(event);
    stroke([last[0] + 0.1, last[1]]);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => last !== null && stroke(place(event)));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  undo.addEventListener("click", () => {
    if (before.length === 0) return;
    pen.putImageData(before.pop(), 0, 0);
    changed();
  });
  const act = (change) => {
    remember();
    change();
    changed();
  };
  clear.addEventListener("click", () => act(wipe));
  return { before, act };
};
