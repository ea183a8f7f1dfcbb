"use strict";
// Parallel coordinates: an axis for each hyperparameter and the value, a line for each trial.
(() => {
  const { make } = window.mlmatrix;
  const SPACE = "http://www.w3.org/2000/svg";
  const ROOM = 118; // what an axis needs for its name, in pixels
  const SHADES = 6;
  const tip = document.getElementById("tip");

  function draw(name, attributes, text) {
    const element = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    if (text !== undefined) element.textContent = text;
    return element;
  }

  const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  // Where things stand: axes side by side, or one below the other where the page is narrow.
  function arrange(width, count) {
    if (width / count >= ROOM) {
      const [left, right, top, height] = [54, width - 54, 40, 260];
      const at = (axis) => left + ((right - left) * axis) / Math.max(1, count - 1);
      return {
        height: top + height + 24,
        length: height,
        room: () => 7,
        point: (axis, place) => [at(axis), top + height * (1 - place)],
        name: (axis) => {
          if (axis === 0) return { x: 4, y: 16 };
          if (axis === count - 1) return { x: width - 4, y: 16, "text-anchor": "end" };
          return { x: at(axis), y: 16, "text-anchor": "middle" };
        },
        letters: Math.max(8, Math.floor(((right - left) / Math.max(1, count - 1) - 8) / 7)),
        tick: (axis, place) => ({ x: at(axis) + 5, y: top + height * (1 - place) + 4 }),
      };
    }
    const [left, right, top, gap] = [16, width - 16, 34, 84];
    const at = (axis) => top + gap * axis;
    return {
      height: top + gap * (count - 1) + 26,
      length: right - left,
      // What is at an end stands inwards of it.
      room: ([place, text]) => 4 + 6.4 * text.length * (place < 0.1 || place > 0.9 ? 1 : 0.5),
      point: (axis, place) => [left + (right - left) * place, at(axis)],
      name: (axis) => ({ x: left, y: at(axis) - 10 }),
      letters: Math.floor((right - left) / 7.5),
      tick: (axis, place) => ({
        x: left + (right - left) * place,
        y: at(axis) + 16,
        "text-anchor": place < 0.1 ? "start" : place > 0.9 ? "end" : "middle",
      }),
    };
  }

  function pathOf(places, layout) {
    let pen = false;
    return places
      .map((place, axis) => {
        const [x, y] = place === null ? [0, 0] : layout.point(axis, place);
        const step = place === null ? "" : `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        pen = place !== null;
        return step;
      })
      .join("");
  }

  // The shade of each line by the rank of its value; what has no value has none.
  function shadesOf(lines) {
    const ranked = lines.filter((line) => line.rank !== null).sort((a, b) => a.rank - b.rank);
    return new Map(
      ranked.map((line, at) => [line, SHADES - 1 - Math.floor((at * SHADES) / ranked.length)]),
    );
  }

  function distance([x, y], [x0, y0], [x1, y1]) {
    const length = (x1 - x0) ** 2 + (y1 - y0) ** 2 || 1;
    const share = Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length));
    return Math.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0));
  }

  // Axes are {name, title, ticks: [[place, text]]} and lines {index, places, rank, kind, told}: a
  // place is from 0 to 1 or null, a rank grows from the best. Returns the figure, `mark` and `show`.
  function parallel({ title, words, axes, lines }) {
    const svg = draw("svg", { class: "parallel", role: "img", "aria-label": `${title}. ${words}` });
    const caption = make("figcaption", {}, make("strong", {}, title), " ", words);
    const figure = make("figure", { class: "chart" }, caption, svg);
    const shades = shadesOf(lines);
    const marked = draw("path", { class: "marked" });
    let layout = null;
    let shown = new Set(lines.map((line) => line.index));
    let at = null;

    const paths = (chosen) => chosen.map((line) => pathOf(line.places, layout)).join("");

    // Both ends, and between them what does not run into another.
    function spread(ticks) {
      const kept = ticks.slice(0, 1);
      const last = ticks.at(-1);
      const free = (one, two) =>
        Math.abs(two[0] - one[0]) * layout.length >= layout.room(one) + layout.room(two);
      for (const tick of ticks.slice(1, -1)) {
        if (free(kept.at(-1), tick) && free(tick, last)) kept.push(tick);
      }
      return ticks.length > 1 ? [...kept, last] : kept;
    }

    function mark(index) {
      at = index;
      const line = lines.find((one) => one.index === index);
      marked.setAttribute("d", line && layout ? pathOf(line.places, layout) : "");
    }

    function fill() {
      const width = Math.max(260, Math.round(figure.clientWidth));
      layout = arrange(width, axes.length);
      svg.setAttribute("viewBox", `0 0 ${width} ${layout.height}`);
      const visible = lines.filter((line) => shown.has(line.index));
      const groups = [["off", lines.filter((line) => !shown.has(line.index))]];
      groups.push(["without", visible.filter((line) => line.rank === null)]);
      for (let shade = 0; shade < SHADES; shade += 1) {
        groups.push([`shade${shade}`, visible.filter((line) => shades.get(line) === shade)]);
      }
      groups.push(["default", visible.filter((line) => line.kind === "default")]);
      groups.push(["best", visible.filter((line) => line.kind === "best")]);
      svg.replaceChildren(
        ...groups
          .filter(([, chosen]) => chosen.length)
          .map(([name, chosen]) => draw("path", { class: name, d: paths(chosen) })),
        marked,
        ...axes.flatMap((axis, place) => {
          const [[x0, y0], [x1, y1]] = [layout.point(place, 0), layout.point(place, 1)];
          const label = draw(
            "text",
            { class: "name", ...layout.name(place) },
            cut(axis.name, layout.letters),
          );
          label.append(draw("title", {}, axis.title));
          return [
            draw("path", { class: "axis", d: `M${x0} ${y0}L${x1} ${y1}` }),
            label,
            ...spread(axis.ticks).map(([share, text]) =>
              draw("text", { class: "tick", ...layout.tick(place, share) }, cut(text, 14)),
            ),
          ];
        }),
      );
      mark(at);
    }

    function nearest(event) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const pointer = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      let found = [12, null];
      for (const line of lines) {
        if (!shown.has(line.index)) continue;
        for (let axis = 1; axis < axes.length; axis += 1) {
          const [one, two] = [line.places[axis - 1], line.places[axis]];
          if (one === null || two === null) continue;
          const away = distance(pointer, layout.point(axis - 1, one), layout.point(axis, two));
          if (away < found[0]) found = [away, line];
        }
      }
      return found[1];
    }

    svg.addEventListener("pointermove", (event) => {
      const line = layout && nearest(event);
      mark(line ? line.index : null);
      tip.hidden = !line;
      if (!line) return;
      tip.textContent = line.told;
      const [x, y] = [event.clientX + 14, event.clientY + 14];
      tip.style.left = `${Math.max(8, Math.min(x, innerWidth - tip.offsetWidth - 8))}px`;
      const below = y + tip.offsetHeight + 8 < innerHeight;
      tip.style.top = `${below ? y : event.clientY - tip.offsetHeight - 10}px`;
    });
    svg.addEventListener("pointerleave", () => {
      mark(null);
      tip.hidden = true;
    });
    new ResizeObserver(() => figure.isConnected && fill()).observe(figure);
    return {
      figure,
      mark,
      show: (indexes) => {
        shown = indexes;
        if (layout) fill();
      },
    };
  }

  window.mlmatrix.parallel = parallel;
})();
