// Runs once for the element on which one paints over a picture. What is painted is kept apart, as white on black.
const mask = document.createElement("canvas");
mask.width = mask.height = canvas.width;
const pen = mask.getContext("2d");
let picture = null;
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
const wipe = () => pen.clearRect(0, 0, mask.width, mask.height);
pen.lineWidth = 40;
pen.strokeStyle = pen.fillStyle = "#fff";
const { before, act } = brush(pen, wipe, show);
for (const half of element.querySelectorAll("[data-half]")) {
  const box = half.dataset.half.split(" ").map((share) => share * mask.width);
  half.addEventListener("click", () => act(() => pen.fillRect(...box)));
}
const load = () => {
  before.length = 0;
  picture = null;
  wipe();
  show();
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
