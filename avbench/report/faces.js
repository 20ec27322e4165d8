/** Faces: boxes over the player at the time that is shown, and below it when each is in view. */
const faceViews = (() => {
  const { byId, make, draw } = page;

  /** The box of a face at a time; undefined where it is out of view. */
  function boxAt(face, time) {
    if (time < face.begin || time >= face.end) return undefined;
    return face.boxes[Math.min(Math.floor((time - face.begin) / face.every), face.boxes.length - 1)];
  }

  /** Boxes over the picture. The drawing is letterboxed as the video is, so that both have one scale. */
  function overlay(faces, video) {
    const around = make("div", "pictured");
    video.replaceWith(around);
    const svg = draw("svg", { "aria-hidden": "true" });
    around.append(video, svg);
    const boxes = faces.map((face) => draw("rect", { class: face.chosen ? "face chosen" : "face" }));
    svg.append(...boxes);
    const move = (time) => {
      const [width, height] = [video.videoWidth, video.videoHeight];
      if (width) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      faces.forEach((face, i) => {
        const box = width ? boxAt(face, time) : undefined;
        boxes[i].toggleAttribute("hidden", !box);
        if (!box) return;
        const values = { x: box[0] * width, y: box[1] * height, width: box[2] * width, height: box[3] * height };
        for (const [name, value] of Object.entries(values)) boxes[i].setAttribute(name, value);
      });
    };
    video.addEventListener("loadedmetadata", () => move(video.currentTime));
    timelines.follow(video, move);
    return svg;
  }

  function chooser(svg) {
    const label = make("label", "hint");
    const box = make("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => svg.toggleAttribute("hidden", !box.checked));
    label.append(box, " boxes of faces");
    return label;
  }

  function show(view, video) {
    const panel = byId("faces");
    panel.replaceChildren();
    if (!view) return;
    const hint = view.curve ? "Bars: faces in view. Line: confidence that the lips go with the voice, over time." : "Bars: faces in view.";
    const { svg, stroke } = timelines.frame(panel, view, "", hint, `Faces over time: ${view.label}`);
    const names = [["faces", view.faces[0].top + view.bar]];
    for (const face of view.faces) {
      const size = { x: face.from, y: face.top, width: Math.max(1, face.to - face.from), height: view.bar };
      svg.append(draw("rect", { class: face.chosen ? "in-view chosen" : "in-view", ...size }));
    }
    if (view.curve) {
      stroke("axis", view.left, view.curve.zero, view.right, view.curve.zero);
      svg.append(draw("path", { class: "line", d: view.curve.d }));
      names.push([view.curve.highest, view.curve.top + 10], ["0", view.curve.zero + 4]);
    }
    for (const [text, y] of names) svg.append(draw("text", { x: 10, y }, text));
    if (!video) return;
    timelines.link(view, svg, video);
    byId("player").append(chooser(overlay(view.faces, video)));
  }

  return { show };
})();
