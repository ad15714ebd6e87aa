// What Gradio's page lacks: a message goes when something new is done, and every control has a name.
(() => {
  const closeMessages = (event) => {
    if (!event.isTrusted || (event.target.closest && event.target.closest("[data-testid=toast-body]"))) return;
    for (const button of document.querySelectorAll("[data-testid=toast-close]")) button.click();
  };
  for (const action of ["pointerdown", "input"]) document.addEventListener(action, closeMessages, true);
  document.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && closeMessages(event), true);

  const nameControls = () => {
    for (const button of document.querySelectorAll(".thumbnail-item:has(.caption-label)")) {
      const name = `${button.querySelector(".caption-label").innerText}`;
      if (button.ariaLabel !== name) button.ariaLabel = name;
    }
    // One message at a time.
    for (const close of [...document.querySelectorAll("[data-testid=toast-close]")].slice(0, -1)) close.click();
    for (const image of document.querySelectorAll(".thumbnail-item img[alt]:not([alt=''])")) image.alt = "";
    for (const empty of document.querySelectorAll(".empty[aria-label]:not([role])")) empty.setAttribute("role", "img");
    for (const button of document.querySelectorAll(".upload-container[aria-label]")) button.removeAttribute("aria-label");
  };
  let isPlanned = false;
  new MutationObserver(() => {
    if (isPlanned) return;
    isPlanned = true;
    requestAnimationFrame(() => ((isPlanned = false), nameControls()));
  }).observe(document, { childList: true, subtree: true });

  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href='#scores']");
    if (!link) return;
    event.preventDefault();
    document.querySelector("#scores-button").click();
    document.querySelector("#tabs").scrollIntoView();
  });

  // More pictures come when somebody scrolls down past the last row, unless their number was chosen, here or by a link.
  let isChosen = new URLSearchParams(window.location.search).has("count");
  for (const action of ["input", "click"]) {
    document.addEventListener(action, (event) => (isChosen ||= Boolean(event.target.closest?.("#count"))), true);
  }
  let lastPlace = 0;
  let isAhead = false; // the end was below the screen since it was last reached
  let lastTime = 0;
  document.addEventListener("scroll", () => {
    const way = window.scrollY - lastPlace;
    lastPlace = window.scrollY;
    const more = document.querySelector("#more");
    const count = document.querySelector("#count input[type=range]");
    if (isChosen || !more?.offsetParent || more.disabled || Number(count.value) >= Number(count.max)) return;
    const { top, bottom } = more.getBoundingClientRect();
    isAhead ||= top + way >= window.innerHeight;
    if (way <= 0 || !isAhead || top >= window.innerHeight || bottom <= 0 || Date.now() - lastTime < 1500) return;
    isAhead = false;
    lastTime = Date.now();
    more.click();
  }, { passive: true });
})();
