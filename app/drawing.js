// Runs once for the drawing's element. Strokes go onto white paper; the page is told of them while one draws.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const [undo, clear] = element.querySelectorAll("button");
const before = []; // the paper before each stroke
let last = null, waiting = null;
const tell = () => {
  if (waiting !== null) return;
  waiting = setTimeout(() => {
    waiting = null;
    trigger("input");
  }, 200);
};
const wipe = () => {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
};
const remember = () => {
  before.push(context.getImageData(0, 0, canvas.width, canvas.height));
  if (before.length > 30) before.shift();
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
};
const stroke = (to) => {
  context.beginPath();
  context.moveTo(...last);
  context.lineTo(...to);
  context.stroke();
  last = to;
  tell();
};
context.lineWidth = 22;
context.lineCap = "round";
context.lineJoin = "round";
context.strokeStyle = "#000";
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
  context.putImageData(before.pop(), 0, 0);
  tell();
});
clear.addEventListener("click", () => {
  remember();
  wipe();
  tell();
});
wipe();
