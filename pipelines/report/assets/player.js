// Plays one side of a place, both sides in turn, or both in step.
"use strict";

asid.player = (() => {
  const BOTH_GAIN = 0.7; // two voices of equal loudness are 3 dB louder than one
  let context = null, current = null;

  // Sound is in scripts, as base64, because a page on file:// cannot fetch files.
  async function decode(text) {
    context ||= new AudioContext();
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    return context.decodeAudioData(bytes.buffer);
  }

  function stop() {
    if (!current) return;
    const { sources, heads, frame, ended } = current;
    current = null;
    cancelAnimationFrame(frame);
    for (const source of sources) { source.onended = null; source.stop(); }
    for (const head of heads) head.hidden = true;
    ended();
  }

  // voices: [{buffer, heads}]; together: all start at the same sample; otherwise one after the other.
  async function play(voices, together, ended) {
    stop();
    await context.resume();
    const gain = new GainNode(context, { gain: together && voices.length > 1 ? BOTH_GAIN : 1 });
    gain.connect(context.destination);
    const begin = context.currentTime + 0.05;
    let at = begin;
    const parts = voices.map(({ buffer, heads }) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(gain);
      source.start(together ? begin : at);
      const part = { source, heads, from: together ? begin : at, seconds: buffer.duration };
      at += buffer.duration;
      return part;
    });
    const mine = current = { sources: parts.map((part) => part.source), heads: parts.flatMap((part) => part.heads), parts, frame: 0, ended };
    const last = parts.reduce((a, b) => (a.from + a.seconds > b.from + b.seconds ? a : b));
    last.source.onended = () => { if (current === mine) stop(); };
    const follow = () => {
      for (const { heads, from, seconds } of parts) {
        const share = (context.currentTime - from) / seconds;
        for (const head of heads) {
          head.hidden = share < 0 || share > 1;
          head.style.left = 100 * share + "%";
        }
      }
      if (current === mine) mine.frame = requestAnimationFrame(follow);
    };
    mine.frame = requestAnimationFrame(follow);
  }

  return { decode, play, stop, isPlaying: () => current !== null, playing: () => current };
})();
