"""The process of ``Window``: shows the frames that arrive on stdin. It needs nothing but Python and tkinter.

A line on stdout says ``ready WIDTH HEIGHT`` with the size of the screen, or ``failed REASON``. A frame is a binary PPM
image (P6) with its number of bytes as 8 bytes in front.
"""

import os
import struct
import sys
import threading

POLL_MS = 15


def main() -> None:
    try:
        import tkinter
    except ImportError:
        print("failed Python has no tkinter (Debian and Ubuntu: apt install python3-tk)", flush=True)
        return
    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        print(f"failed {error}", flush=True)
        return
    root.title(sys.argv[1])
    for key in ("q", "<Escape>"):
        root.bind(key, lambda _: root.destroy())
    shown = tkinter.Label(root, borderwidth=0)
    shown.pack()
    newest: list[bytes] = []
    threading.Thread(target=receive, args=[newest], daemon=True).start()

    def show_newest() -> None:
        if newest:
            image = tkinter.PhotoImage(data=newest.pop(), format="ppm")
            shown.configure(image=image)
            shown.image = image  # type: ignore[attr-defined] # tkinter keeps no reference
        root.after(POLL_MS, show_newest)

    show_newest()
    print(f"ready {root.winfo_screenwidth()} {root.winfo_screenheight()}", flush=True)
    root.mainloop()


def receive(newest: list[bytes]) -> None:
    """Read frames until the end of stdin, then end the process; only the newest one is kept."""
    while len(header := sys.stdin.buffer.read(8)) == 8:
        (size,) = struct.unpack("<Q", header)
        newest[:] = [sys.stdin.buffer.read(size)]
    os._exit(0)


if __name__ == "__main__":
    main()
