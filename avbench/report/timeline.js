/** Drawings over time below the player, with a cursor that leads there. */
const timelines = (() => {
  const { byId, make, draw } = page;
  const BELOW = 22; // pixels below the axis, for its ticks

  /** An empty drawing with its heading and its axis; strokes and texts are added by what it returns. */
  function frame(panel, line, kind, hint, title) {
    const head = make("div", "timeline-head");
    head.append(make("b", kind, line.label));
    if (hint) head.append(make("span", "hint", hint));
    const svg = draw("svg", { viewBox: `0 0 ${line.width} ${line.height}`, role: "img" });
    svg.append(draw("title", {}, title));
    const stroke = (name, x1, y1, x2, y2) => svg.append(draw("line", { class: name, x1, y1, x2, y2 }));
    const axis = line.height - BELOW;
    for (const [x, text] of line.ticks) {
      stroke("axis", x, axis, x, axis + 5);
      svg.append(draw("text", { x, y: axis + 18, "text-anchor": "middle" }, `${text} s`));
    }
    panel.append(head, svg);
    return { svg, stroke };
  }

  /** Waveform, onsets and motion, and how far apart onsets and motion are. */
  function show(line, video) {
    const panel = byId("timeline");
    panel.replaceChildren();
    if (!line) return;
    const late = line.late ? " late" : "";
    const hint = line.matched.length ? "Solid: sound onsets. Dashed: the moment in the video that each belongs to." : "";
    const { svg, stroke } = frame(panel, line, late.trim(), hint, `Waveform, sound onsets and motion over time: ${line.label}`);
    for (const lane of line.lanes) {
      svg.append(draw("path", { class: `lane-${lane.kind}`, d: lane.d }));
      svg.append(draw("text", { x: 10, y: (lane.top + lane.bottom) / 2 + 4 }, lane.name));
    }
    const bounds = Object.fromEntries(line.lanes.map((lane) => [lane.kind, lane]));
    const from = (bounds.onset || bounds.wave || bounds.motion).top;
    const to = (bounds.onset || bounds.wave || bounds.motion).bottom;
    line.onsets.forEach((x, i) => {
      stroke("onset", x, from, x, to);
      const match = line.matched[i];
      if (!bounds.motion || match === undefined || match === null) return;
      stroke(`shift${late}`, x, to, match, bounds.motion.top);
      stroke(`matched${late}`, match, bounds.motion.top, match, bounds.motion.bottom);
    });
    if (video) link(line, svg, video);
  }

  /** Call `move` with the time that is shown, whenever it changes. */
  function follow(video, move) {
    const step = () => {
      move(video.currentTime);
      if (!video.paused && video.isConnected) requestAnimationFrame(step);
    };
    for (const name of ["play", "seeking", "timeupdate"]) video.addEventListener(name, step);
    step();
  }

  /** A cursor at the time that is shown; a click leads to its time. */
  function link(line, svg, video) {
    const cursor = draw("line", { class: "cursor", x1: line.left, y1: 2, x2: line.left, y2: line.height - BELOW + 2 });
    svg.append(cursor);
    const scale = (line.right - line.left) / (line.last - line.first);
    follow(video, (time) => {
      const x = line.left + (time - line.first) * scale;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    });
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * line.width;
      video.currentTime = Math.max(0, line.first + (x - line.left) / scale);
    });
  }

  return { frame, show, follow, link };
})();
