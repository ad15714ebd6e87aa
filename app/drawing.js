// Runs once for the drawing's element. Strokes go onto white paper; the page is told of them while one draws.
let waiting = null;
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
context.lineWidth = 22;
context.strokeStyle = "#000";
brush(context, wipe, tell);
wipe();
