"use strict";
// All videos of one take follow one clock. Without this script each video has its own controls and all takes are shown.
(() => {
  const element = (id) => document.getElementById(id);
  const takes = [...document.querySelectorAll(".take")];
  const place = element("place"), play = element("play"), clock = element("clock"), picker = element("take");
  const DRIFT = 0.08; // maximum difference of a player to the clock in seconds

  let videos = [], seconds = 1, fps = 1, frame = 0, running = false, begun = 0;

  // Every browser can seek in a blob, but not in a long data URI.
  const asBlob = (video) => {
    const text = atob(video.src.slice(video.src.indexOf(",") + 1));
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  };

  const last = () => Math.max(1, Math.round(seconds * fps)) - 1;
  const middle = (index) => (index + 0.5) / fps;
  const within = (video, time) => Math.min(time, Number(video.dataset.seconds) - 0.5 / Number(video.dataset.fps));

  const tell = () => {
    place.value = String(frame);
    clock.textContent = `${(frame / fps).toFixed(2)} s`;
    for (const drawing of takes[Number(picker.value)].querySelectorAll(".curves")) {
      const { left, right } = drawing.dataset;
      const share = Math.min(1, middle(frame) / Number(drawing.dataset.seconds));
      const x = Number(left) + share * (Number(right) - Number(left));
      const now = drawing.querySelector(".now");
      now.setAttribute("x1", x);
      now.setAttribute("x2", x);
    }
  };

  const seek = (index) => {
    frame = Math.min(last(), Math.max(0, index));
    for (const video of videos) video.currentTime = within(video, middle(frame));
    begun = performance.now() - (frame / fps) * 1000;
    tell();
  };

  const follow = () => {
    if (!running) return;
    const time = (performance.now() - begun) / 1000;
    if (time >= seconds) {
      seek(0);
      for (const video of videos) video.play().catch(() => {});
    } else {
      frame = Math.min(last(), Math.floor(time * fps));
      for (const video of videos) {
        const wanted = within(video, time);
        if (Math.abs(video.currentTime - wanted) > DRIFT) video.currentTime = wanted;
      }
      tell();
    }
    requestAnimationFrame(follow);
  };

  const run = (wanted) => {
    running = wanted;
    play.textContent = running ? "Pause" : "Play";
    for (const video of videos) running ? video.play().catch(() => {}) : video.pause();
    if (running) {
      begun = performance.now() - (frame / fps) * 1000;
      requestAnimationFrame(follow);
    } else seek(frame);
  };

  const show = (index) => {
    run(false);
    takes.forEach((take, number) => { take.hidden = number !== index; });
    videos = [...takes[index].querySelectorAll("video")];
    for (const video of videos) if (video.src.startsWith("data:")) asBlob(video);
    seconds = Math.max(...videos.map((video) => Number(video.dataset.seconds)));
    fps = Math.max(...videos.map((video) => Number(video.dataset.fps)));
    place.max = String(last());
    seek(0);
  };

  for (const video of document.querySelectorAll("video")) {
    video.controls = false;
    video.addEventListener("error", () => { video.parentElement.querySelector(".broken").hidden = false; });
  }
  play.addEventListener("click", () => run(!running));
  element("back").addEventListener("click", () => { run(false); seek(frame - 1); });
  element("next").addEventListener("click", () => { run(false); seek(frame + 1); });
  place.addEventListener("input", () => { const index = Number(place.value); run(false); seek(index); });
  picker.addEventListener("change", () => show(Number(picker.value)));
  document.querySelector(".controls").hidden = false;
  show(0);
})();
