"use strict";
// The combobox of datasets: an editable one with a list, as the ARIA practices describe it.
(() => {
  const picker = document.querySelector("[data-picker]");
  if (!picker) return;
  const input = picker.querySelector("input");
  const list = picker.querySelector("[role=listbox]");
  const none = picker.querySelector(".none");
  const options = [...list.children];
  const words = new Map(options.map((option) => [option, option.textContent.toLowerCase()]));
  const chosen = input.value;
  let active = null;

  const shown = () => options.filter((option) => !option.hidden);

  function mark(option) {
    active?.classList.remove("active");
    active = option ?? null;
    if (!active) {
      input.removeAttribute("aria-activedescendant");
      return;
    }
    active.classList.add("active");
    input.setAttribute("aria-activedescendant", active.id);
    active.scrollIntoView({ block: "nearest" });
  }

  function filter(text) {
    const terms = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const option of options) {
      option.hidden = !terms.every((term) => words.get(option).includes(term));
    }
    none.hidden = shown().length > 0;
  }

  function open(text) {
    filter(text);
    list.hidden = shown().length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }

  function close() {
    list.hidden = true;
    none.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(null);
  }

  function choose(option) {
    input.value = option.dataset.name;
    close();
    location.href = option.dataset.link;
  }

  // The arrows go round; from nowhere, down is the first and up the last.
  function step(by) {
    if (list.hidden) open(input.value === chosen ? "" : input.value);
    const found = shown();
    if (!found.length) return;
    const at = active ? found.indexOf(active) : by > 0 ? -1 : 0;
    mark(found[(at + by + found.length) % found.length]);
  }

  input.addEventListener("input", () => {
    open(input.value);
    mark(input.value.trim() ? shown()[0] : null);
  });
  input.addEventListener("click", () => {
    input.select();
    if (list.hidden) open("");
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" && active) choose(active);
    else if (event.key === "Escape") {
      if (list.hidden) input.value = chosen;
      close();
    } else return;
    event.preventDefault();
  });
  input.addEventListener("blur", close);
  // Before the input loses its focus, and the list its place.
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(option);
  });
  picker.hidden = false;
})();
