// Plays two snippets: one, the other, in turn, or both at once.
"use strict";

asid.player = (() => {
  let current = null;

  function stop() {
    if (!current) return;
    cancelAnimationFrame(current.frame);
    for (const { audio, head } of current.voices) { audio.pause(); if (head) head.hidden = true; }
    const ended = current.ended;
    current = null;
    ended();
  }

  // Samples taken on a turntable change pitch with tempo; those of a time-stretcher do not.
  function isTurntable(row) {
    return row.pitch !== null && Math.abs(row.pitch - 12 * Math.log2(row.tempo)) < 0.5 && Math.abs(row.tempo - 1) > 0.02;
  }

  // voices: [{audio, head}]; together: all at once, else one after the other
  function play(voices, together, ended) {
    stop();
    const mine = (current = { voices, ended, frame: 0 });
    const follow = () => {
      for (const { audio, head } of voices) {
        if (!head) continue;
        head.hidden = audio.paused;
        head.style.left = (100 * audio.currentTime) / (audio.duration || 1) + "%";
      }
      if (current === mine) mine.frame = requestAnimationFrame(follow);
    };
    const begin = (voice) => { voice.audio.currentTime = 0; return voice.audio.play(); };
    const finished = (i) => {
      if (current !== mine) return;
      if (!together && i + 1 < voices.length) begin(voices[i + 1]).catch(stop);
      else if (voices.every(({ audio }) => audio.ended || audio.paused)) stop();
    };
    voices.forEach(({ audio }, i) => { audio.onended = () => finished(i); });
    const started = Promise.all((together ? voices : voices.slice(0, 1)).map(begin));
    mine.frame = requestAnimationFrame(follow);
    return started.catch((error) => { if (current === mine) stop(); if (error.name !== "AbortError") throw error; });
  }

  return { play, stop, isTurntable, isPlaying: () => current !== null };
})();
