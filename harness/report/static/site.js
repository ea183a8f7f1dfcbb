"use strict";
// What all pages share: loading data from file://, and small helpers to build elements as text.
(() => {
  const root = document.documentElement.dataset.root;
  const waiting = new Map();
  const loaded = new Map();

  // A data file calls this with its own name; nothing else is taken from it.
  window.mlmatrixData = (stem, value) => {
    loaded.set(stem, Promise.resolve(value));
    if (waiting.has(stem)) waiting.get(stem).resolve(value);
    waiting.delete(stem);
  };

  function script(path) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = root + path;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${path} cannot be loaded`));
      document.head.append(element);
    });
  }

  // Load data/<stem>.js once; the promise holds its value.
  function load(stem) {
    if (!loaded.has(stem)) {
      loaded.set(
        stem,
        new Promise((resolve, reject) => {
          waiting.set(stem, { resolve, reject });
          script(`data/${encodeURIComponent(stem)}.js`).then(
            () => reject(new Error(`data/${stem}.js does not hold ${stem}`)),
            (problem) => {
              loaded.delete(stem);
              reject(problem);
            },
          );
        }),
      );
    }
    return loaded.get(stem);
  }

  let plotly;
  // Plotly is large, so it is loaded by the first chart that asks for it.
  function loadPlotly() {
    plotly ??= load("plotly-styles")
      .then((ids) => document.head.append(...ids.map((id) => make("meta", { id }))))
      .then(() => script("assets/plotly.min.js"))
      .then(() => window.Plotly);
    return plotly;
  }

  // Make an element; children are nodes or text, and text is never parsed as HTML.
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined)
        element.setAttribute(key, String(value));
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  // The JSON of a <script type="application/json" id="…"> in the page.
  function embedded(id) {
    return JSON.parse(document.getElementById(id).textContent);
  }

  // Where the page is deep-linked to: the fragment, decoded; "" where it is none or broken.
  function fragment() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return "";
    }
  }

  // Parsed and written again, a large seed would lose its last digits.
  function indent(json) {
    let depth = 0;
    const line = () => `\n${"  ".repeat(depth)}`;
    return json.replace(/"(?:\\.|[^"\\])*"|\{\}|\[\]|[{}[\],]/g, (token) => {
      if (token === "{" || token === "[") depth += 1;
      if (token === "}" || token === "]") {
        depth -= 1;
        return line() + token;
      }
      return "{[,".includes(token) ? token + line() : token;
    });
  }

  // A button that copies a text; the text itself stays selectable where copying is refused.
  function copyButton(text) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it";
      }
      setTimeout(() => {
        button.textContent = "Copy";
      }, 2000);
    });
    return button;
  }

  // The browser shows a title to the mouse alone; the keyboard gets it here.
  const tip = document.getElementById("tip");
  for (const square of document.querySelectorAll("a.sq")) {
    square.addEventListener("focus", () => {
      if (!square.matches(":focus-visible")) return;
      tip.textContent = square.title;
      tip.hidden = false;
      const at = square.getBoundingClientRect();
      tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
      const below = at.bottom + tip.offsetHeight + 8 < innerHeight;
      tip.style.top = `${below ? at.bottom + 6 : at.top - tip.offsetHeight - 6}px`;
    });
    square.addEventListener("blur", () => {
      tip.hidden = true;
    });
  }

  for (const command of document.querySelectorAll(".rerun .command")) {
    command.after(" ", copyButton(command.textContent));
  }

  function unfold() {
    const target = document.getElementById(fragment());
    if (target instanceof HTMLDetailsElement) target.open = true;
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  window.mlmatrix = { copyButton, embedded, fragment, indent, load, loadPlotly, make };
})();
