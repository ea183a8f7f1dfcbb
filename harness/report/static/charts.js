"use strict";
// Charts by Plotly, in the page's colours, each with its words and numbers beside it.
(() => {
  const { loadPlotly, make } = window.mlmatrix;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const drawn = [];

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      ink: read("--ink"),
      soft: read("--soft"),
      line: read("--line"),
      card: read("--card"),
      blue: read("--validation"),
      grey: read("--train"),
      red: read("--red-line"),
      amber: read("--amber-line"),
      green: read("--green"),
      fill: read("--band"),
      series: ["--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"].map(read),
    };
  }

  // Plotly reads some HTML in its texts; escaped, a name stays the text that it is.
  function plain(text) {
    const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
    return String(text).replace(/[&<>]/g, (character) => names[character]);
  }

  function axis(colors, more) {
    return {
      gridcolor: colors.line,
      linecolor: colors.line,
      zerolinecolor: colors.line,
      tickfont: { color: colors.soft },
      automargin: true,
      fixedrange: false,
      ...more,
    };
  }

  function draw({ element, build }) {
    const colors = theme();
    const { data, layout } = build(colors);
    const { xaxis, yaxis, ...rest } = layout;
    return window.Plotly.react(
      element,
      data,
      {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colors.ink },
        margin: { t: 12, r: 36, b: 36, l: 56 },
        height: 260,
        hovermode: "closest",
        hoverlabel: {
          bgcolor: colors.card,
          bordercolor: colors.soft,
          font: { color: colors.ink },
          align: "left",
        },
        legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0, font: { color: colors.soft } },
        dragmode: "zoom",
        transition: { duration: still.matches ? 0 : 150 },
        ...rest,
        xaxis: axis(colors, { zeroline: false, ...xaxis }),
        yaxis: axis(colors, yaxis),
      },
      { displayModeBar: false, responsive: true, doubleClick: "reset" },
    );
  }

  // A table of numbers for those who cannot see the chart; columns are [title, values].
  function numbers(title, columns) {
    const rows = columns[0][1].map((_, at) =>
      make(
        "tr",
        {},
        columns.map(([, values], column) =>
          make(column ? "td" : "th", column ? { class: "n" } : { scope: "row" }, values[at]),
        ),
      ),
    );
    const head = columns.map(([name], at) =>
      make("th", at ? { scope: "col", class: "n" } : { scope: "col" }, name),
    );
    return make(
      "details",
      { class: "numbers" },
      make("summary", {}, "Numbers"),
      make(
        "div",
        { class: "scroll", role: "region", tabindex: 0, "aria-label": title },
        make(
          "table",
          { class: "plain" },
          make("thead", {}, make("tr", {}, head)),
          make("tbody", {}, rows),
        ),
      ),
    );
  }

  // Return a figure; the chart is drawn once it is in the page. `columns` is made on demand.
  function chart({ title, words, build, columns }) {
    const element = make("div", { class: "plot", role: "img", "aria-label": `${title}. ${words}` });
    const caption = make("figcaption", {}, make("strong", {}, title), " ", words);
    const figure = make("figure", { class: "chart" }, caption, element);
    if (columns) {
      const details = make("details", { class: "numbers" }, make("summary", {}, "Numbers"));
      const fill = () => details.replaceWith(numbers(title, columns()));
      details.addEventListener(
        "toggle",
        () => {
          const full = numbers(title, columns());
          full.open = true;
          details.replaceWith(full);
          full.querySelector("summary").focus();
        },
        { once: true },
      );
      window.addEventListener("beforeprint", () => details.isConnected && fill(), { once: true });
      figure.append(details);
    }
    const one = { element, build };
    drawn.push(one);
    loadPlotly().then(
      () => element.isConnected && draw(one),
      (problem) => element.replaceChildren(make("p", { class: "alarm" }, problem.message)),
    );
    return figure;
  }

  function redraw() {
    for (const one of drawn) if (one.element.isConnected && window.Plotly) draw(one);
  }
  dark.addEventListener("change", redraw);
  // Forget the charts of what the page no longer shows.
  function clear() {
    for (const { element } of drawn.splice(0)) if (window.Plotly) window.Plotly.purge(element);
  }

  // A few places of so many, with both ends, as ticks; fewer where the window is narrow.
  function ticks(count) {
    const most = Math.min(count, innerWidth < 640 ? 3 : 6);
    const places = [...Array(most).keys()].map((n) =>
      most === 1 ? 0 : Math.round((n * (count - 1)) / (most - 1)),
    );
    return [...new Set(places)];
  }

  window.mlmatrix.chart = chart;
  window.mlmatrix.ticks = ticks;
  window.mlmatrix.clearCharts = clear;
  window.mlmatrix.plain = plain;
})();
