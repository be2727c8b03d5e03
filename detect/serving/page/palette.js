// The colors of classes: those of detect/media/palette.py, which color-blind readers can tell apart.

const PALETTE = `
  56B4E9 E69F00 009E73 F0E442 D55E00 0072B2 CC79A7
  882255 EE6677 CC3311 EECC66 90C987 882E72 BBCC33 44BB99 117733 999933 994455 EE8866 FFAABB
  DD00BB DD66FF 77DD55 BB4422 7711DD CC22FF 00EEFF AA1188 889944 2255AA FF9966 CC6666
  6633CC 88DD00 88EECC 994477 BB2233 6666CC FF77DD 9955FF FF5533 990099 DD77BB BBDD88
  00FF33 AA1166 55DDCC 448855 CC33DD 994499 FF44CC 77AA55 9911BB BB0022 EE99FF 226633
  FF88BB BB4477 9955BB DD0044 99BB44 66BB88 99EEAA EEBB77 8888DD AA11FF DD7700 CC3388
  11CCFF AA66AA 5599FF 5544BB 884422 7700FF 0044DD AAEE55 BB6655 FF3388 AA88CC 55DD77
`.trim().split(/\s+/);
const [BLACK, WHITE] = [0, 255];
const SHADES = [[WHITE, 0], [WHITE, 0.3], [BLACK, 0.3], [WHITE, 0.5], [BLACK, 0.5]];

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
