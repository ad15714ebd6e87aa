// Runs once for the element on which one paints over a picture. What is painted is kept apart, as white on black.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const mask = document.createElement("canvas");
mask.width = mask.height = canvas.width;
const pen = mask.getContext("2d");
const [undo, clear] = element.querySelectorAll("button");
const before = []; // the mask before each stroke
let picture = null, last = null;
const show = () => {
  context.imageSmoothingEnabled = false;
  context.globalAlpha = 1;
  context.fillStyle = "#18181b";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const paint = document.createElement("canvas");
  paint.width = paint.height = canvas.width;
  const tint = paint.getContext("2d");
  tint.drawImage(mask, 0, 0);
  tint.globalCompositeOperation = "source-in";
  tint.fillStyle = "#a78bfa";
  tint.fillRect(0, 0, paint.width, paint.height);
  context.globalAlpha = 0.8;
  context.drawImage(paint, 0, 0);
};
const wipe = () => {
  pen.clearRect(0, 0, mask.width, mask.height);
  show();
};
const remember = () => {
  before.push(pen.getImageData(0, 0, mask.width, mask.height));
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
  show();
};
pen.lineWidth = 40;
pen.lineCap = pen.lineJoin = "round";
pen.strokeStyle = "#fff";
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
  show();
});
clear.addEventListener("click", () => {
  remember();
  wipe();
});
const load = () => {
  before.length = 0;
  picture = null;
  wipe();
  if (!props.value) return;
  const image = new Image();
  image.onload = () => {
    picture = image;
    show();
  };
  image.src = props.value;
};
watch("value", load);
load();
// The page asks for the mask when its button is used: opaque, black where the picture stays.
window.spikevaeMask = () => {
  const sheet = document.createElement("canvas");
  sheet.width = sheet.height = mask.width;
  const flat = sheet.getContext("2d");
  flat.fillStyle = "#000";
  flat.fillRect(0, 0, sheet.width, sheet.height);
  flat.drawImage(mask, 0, 0);
  return sheet.toDataURL("image/png");
};
