(() => {
  const { byId, make } = page;
  const data = JSON.parse(byId("report-data").textContent);
  const DRIFT = 0.08; // seconds between picture and separate sound before it is corrected
  const isolated = (text) => make("bdi", "", text);

  const table = clipTable(data);

  // Media -----------------------------------------------------------------------------------------------------
  const addresses = new Map();
  function address(number) {
    const file = data.files[number];
    if (!file.inside) return file.src;
    if (!addresses.has(number)) {
      const text = atob(JSON.parse(byId(`file-${number}`).textContent));
      const bytes = Uint8Array.from(text, (sign) => sign.charCodeAt(0));
      addresses.set(number, URL.createObjectURL(new Blob([bytes], { type: file.type })));
    }
    return addresses.get(number);
  }

  /** Keep a separate sound with the picture: play, pause, seek, rate, volume, and drift. */
  function follow(video, audio) {
    const beyond = () => Number.isFinite(audio.duration) && video.currentTime >= audio.duration;
    const align = () => {
      if (!beyond() && Math.abs(audio.currentTime - video.currentTime) > DRIFT) audio.currentTime = video.currentTime;
    };
    const start = () => {
      align();
      if (!beyond() && !video.paused) audio.play().catch(() => {});
    };
    video.addEventListener("play", start);
    video.addEventListener("playing", start);
    for (const name of ["pause", "waiting", "ended"]) video.addEventListener(name, () => audio.pause());
    video.addEventListener("seeking", align);
    video.addEventListener("seeked", () => (video.paused ? align() : start()));
    video.addEventListener("timeupdate", () => {
      if (!video.paused) align();
    });
    video.addEventListener("ratechange", () => (audio.playbackRate = video.playbackRate));
    video.addEventListener("volumechange", () => {
      video.muted = true; // the embedded sound was not what was scored
      audio.volume = video.volume;
    });
  }
  function showPlayer(clip) {
    const panel = byId("player");
    const note = (text, bad) => panel.append(make("p", bad ? "hint bad" : "hint", text));
    if (clip.brief) {
      note("Clips that need attention and those with the most extreme values have players and details; this is none of them.");
      return null;
    }
    const source = clip.video === null ? null : address(clip.video);
    if (!source) {
      note(clip.video === null ? "This clip has no video file." : `Video: ${data.files[clip.video].note}`, true);
      return null;
    }
    if (data.files[clip.video].note) note(`Video: ${data.files[clip.video].note}`);
    const video = make("video");
    video.controls = true;
    video.preload = "auto";
    video.playsInline = true;
    video.addEventListener("error", () => note("This browser cannot play the video file.", true));
    panel.append(video);
    if (clip.audio !== null) {
      video.muted = true;
      const sound = address(clip.audio);
      if (sound) {
        const audio = make("audio");
        audio.preload = "auto";
        audio.src = sound;
        audio.addEventListener("error", () => note("This browser cannot play the sound file.", true));
        follow(video, audio);
        panel.append(audio);
        note("Sound: from the separate sound file. The video's own sound is muted, as it was not scored.");
        const label = make("label", "hint");
        const box = make("input");
        box.type = "checkbox";
        box.checked = true;
        box.addEventListener("change", () => (audio.muted = !box.checked));
        label.append(box, " sound on");
        panel.append(label);
      } else note(`Sound: ${data.files[clip.audio].note}`, true);
    }
    video.src = source;
    return video;
  }

  // Detail of one clip ----------------------------------------------------------------------------------------
  const dialog = byId("detail");
  let current = -1;
  function stop() {
    for (const media of byId("player").querySelectorAll("video, audio")) {
      media.pause();
      media.removeAttribute("src");
    }
    byId("player").replaceChildren();
  }
  function showTexts(clip) {
    byId("texts").replaceChildren();
    if (clip.problem) byId("texts").append(make("p", "hint bad", clip.problem));
    for (const [label, text] of clip.texts) {
      const line = make("p");
      line.append(isolated(text));
      byId("texts").append(make("h3", "", label), line);
    }
    if (!clip.texts.length) byId("texts").append(make("p", "quiet", "No prompt is known for this clip."));
  }
  /** What was asked and what was heard; a click on a word plays from there. */
  function showWords(words, video) {
    if (!words) return;
    const line = make("p", "spoken");
    for (const [kind, asked, heard] of words.edits) {
      if (kind === "equal") line.append(make("span", "", asked), " ");
      if (kind === "delete" || kind === "substitute") line.append(make("del", "", asked), " ");
      if (kind === "insert" || kind === "substitute") line.append(make("ins", "", heard), " ");
    }
    byId("texts").append(make("h3", "", "Asked (struck out where not heard) and heard (underlined where not asked)"), line);
    if (!words.speech) byId("texts").append(make("p", "hint bad", "Nobody speaks in this clip."));
    if (!words.words.length) return;
    const heard = make("p", "spoken");
    for (const [text, start] of words.words) {
      const word = make(video ? "button" : "span", "word", text);
      word.title = `${start.toFixed(2)} s`;
      if (video) {
        word.type = "button";
        word.addEventListener("click", () => (video.currentTime = start));
      }
      heard.append(word, " ");
    }
    byId("texts").append(make("h3", "", `Words as written down${video ? "; each leads to its time" : ""}`), heard);
  }
  function showScores(clip) {
    const lines = clip.scores.flatMap((score, i) => {
      if (!score) return [];
      const line = make("tr");
      const metric = data.metrics[i];
      const name = make("th", "", metric.name);
      name.scope = "row";
      line.append(name, make("td", "sign", metric.arrow));
      line.append(make("td", `num ${score[2] === "error" ? "bad" : ""}`, score[2] === "ok" ? score[1] : score[2]));
      line.append(make("td", "why", score[2] === "ok" ? metric.unit : score[3]));
      return [line];
    });
    byId("scores").tBodies[0].replaceChildren(...lines);
  }
  function open(number) {
    const clip = table.clip(number);
    if (!clip) return;
    stop();
    current = number;
    byId("detail-title").replaceChildren(isolated(clip.id));
    byId("detail-flags").textContent = clip.flags.join(", ");
    const video = showPlayer(clip);
    showTexts(clip);
    showWords(clip.words, video);
    timelines.show(clip.timeline, video);
    faceViews.show(clip.faces, video);
    showScores(clip);
    const metadata = clip.metadata.map(([label, text]) => {
      const line = make("div");
      const value = make("dd");
      value.append(isolated(text));
      line.append(make("dt", "", label), value);
      return line;
    });
    byId("metadata").replaceChildren(...metadata);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  function step(by) {
    open(table.beside(current, by));
  }
  dialog.addEventListener("close", stop);
  page.closable(dialog, byId("close"));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-clip], a[href^='#clip-'], #clip-table tbody tr");
    if (!target || String(getSelection())) return;
    event.preventDefault();
    const named = /^#clip-(\d+)$/.exec(target.getAttribute("href") || "");
    open(Number(named ? named[1] : (target.dataset.clip ?? target.dataset.row)));
  });
  const fromAddress = () => {
    const match = /^#clip-(\d+)$/.exec(location.hash);
    if (match) open(Number(match[1]));
  };
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
