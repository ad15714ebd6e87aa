// Runs once for the drawing's element. Strokes go onto white paper; the page reads the canvas when its button is used.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const clear = () => {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
};
let last = null;
context.lineWidth = 22;
context.lineCap = "round";
context.lineJoin = "round";
context.strokeStyle = "#000";
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  context.beginPath();
  context.moveTo(...last);
  context.lineTo(last[0] + 0.1, last[1]);
  context.stroke();
  event.preventDefault();
});
canvas.addEventListener("pointermove", (event) => {
  if (last === null) return;
  context.beginPath();
  context.moveTo(...last);
  last = place(event);
  context.lineTo(...last);
  context.stroke();
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
element.querySelector("button").addEventListener("click", clear);
clear();
