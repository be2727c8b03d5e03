// The colors of classes: those of detect/media/palette.py, which color-blind readers can tell apart.

const PALETTE = [
  "E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7", "72190E", "CAE0AB", "882E72", "D1BBD7", "117733",
  "999933", "004488", "882255", "FFAABB", "90C987", "99DDFF", "EECC66", "EE6677", "EE8866", "994455", "BBCC33", "CC3311",
];
const [BLACK, WHITE] = [0, 255];
const SHADES = [[WHITE, 0], [WHITE, 0.5], [BLACK, 0.4], [WHITE, 0.25], [BLACK, 0.2], [WHITE, 0.7]];

// Red, green and blue, 0..255, of color number `index` (0, 1, ...).
export function rgbOf(index) {
  const code = PALETTE[index % PALETTE.length];
  const [other, part] = SHADES[Math.floor(index / PALETTE.length) % SHADES.length];
  return [0, 2, 4].map((start) => {
    const value = parseInt(code.slice(start, start + 2), 16);
    return Math.round(value + (other - value) * part);
  });
}

export const css = (rgb) => `rgb(${rgb.join(" ")})`;

// Black or white, whichever has the higher contrast (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
export function contrasting(rgb) {
  const [red, green, blue] = rgb.map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) ** 2 > 0.05 * 1.05 ? "#000" : "#fff";
}
