// Runs once for the element in which recordings play: once, on one clock, from the moment they can be seen.
const figures = [...element.querySelectorAll("figure")];
const [button, slider, clock] = ["button", "input", "output"].map((part) => element.querySelector(part));
const isStill = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let told = { moments: 1, milliseconds: 80, sides: [] };
let films = [];
let timer = null;
let isNew = true;
let isVisible = false;

const draw = () => {
  const moment = Number(slider.value); // how many are over
  told.sides.forEach((side, place) => {
    const film = films[place];
    const canvas = figures[place].querySelector("canvas");
    if (film && film.complete && film.naturalWidth) {
      const width = film.naturalWidth;
      const height = film.naturalHeight / told.moments;
      if (canvas.width !== width) canvas.width = canvas.height = width;
      canvas.getContext("2d").drawImage(film, 0, (moment - 1) * height, width, height, 0, 0, width, height);
    }
    if (!side.shares) return;
    const step = Math.floor((moment * side.shares.length) / told.moments); // of the network, that are over
    const shares = step ? side.shares[step - 1] : side.classes.map(() => 0);
    const best = Math.max(...shares);
    figures[place].querySelectorAll("li").forEach((row, number) => {
      const percent = `${Math.round(100 * shares[number])} %`;
      row.style.setProperty("--share", `${100 * shares[number]}%`);
      row.classList.toggle("best", step > 0 && shares[number] === best);
      row.lastChild.textContent = step ? percent : "";
    });
  });
  const longest = Math.max(0, ...told.sides.map((side) => side.milliseconds));
  const words = `${Math.round((longest * moment) / told.moments)} ms`;
  clock.textContent = words;
  slider.setAttribute("aria-valuetext", words);
};
const stop = () => {
  clearInterval(timer);
  timer = null;
  button.textContent = Number(slider.value) < told.moments ? "Play" : "Play again";
};
const play = () => {
  if (Number(slider.value) >= told.moments) slider.value = 1;
  button.textContent = "Pause";
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    draw();
    if (Number(slider.value) >= told.moments) stop();
  }, told.milliseconds);
  draw();
};
const playOnce = () => {
  if (!isNew || !isVisible || !told.sides.length) return;
  isNew = false;
  if (!isStill) play();
};
const fill = (figure, side) => {
  figure.hidden = !side;
  if (!side) return;
  figure.querySelector("figcaption").textContent = side.title;
  figure.querySelector(".facts").textContent = side.facts;
  figure.querySelector("canvas").setAttribute("aria-label", `${side.title}: ${side.facts}`);
  figure.querySelector("ol").replaceChildren(
    ...(side.classes ?? []).map((name) => {
      const row = document.createElement("li");
      const [named, bar, percent] = ["span", "i", "span"].map((kind) => document.createElement(kind));
      named.textContent = name;
      row.append(named, bar, percent);
      return row;
    }),
  );
};
const load = () => {
  stop();
  told = props.value ? JSON.parse(props.value) : { moments: 1, milliseconds: 80, sides: [] };
  slider.max = told.moments;
  slider.value = isStill ? told.moments : 1;
  figures.forEach((figure, place) => fill(figure, told.sides[place]));
  films = told.sides.map((side) => {
    const film = new Image();
    film.onload = draw;
    film.src = side.film;
    return film;
  });
  isNew = true;
  stop();
  draw();
  playOnce();
};
button.addEventListener("click", () => (timer === null ? play() : stop()));
slider.addEventListener("input", () => {
  stop();
  draw();
});
new IntersectionObserver((entries) => {
  isVisible = entries[entries.length - 1].isIntersecting;
  playOnce();
}).observe(element);
watch("value", load);
load();
