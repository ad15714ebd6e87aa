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

  // More pictures come when somebody scrolls to the end of those that are there.
  document.addEventListener("scroll", () => {
    const more = document.querySelector("#more");
    const count = document.querySelector("#sample input[type=range]"); // the first one: the number of pictures
    if (!more || !more.offsetParent || more.disabled || (count && Number(count.value) >= Number(count.max))) return;
    const { top, bottom } = more.getBoundingClientRect();
    if (top < window.innerHeight && bottom > 0) {
      if (Date.now() - (window.spikevaeAsked || 0) < 1500) return;
      window.spikevaeAsked = Date.now();
      more.click();
    }
  }, { passive: true });
})();
