#!/usr/bin/env bash
# Makes every icon of the desktop client anew from web-ui/page/icon.svg and tray.svg.
# Needs rsvg-convert, convert (ImageMagick) and Python 3: apt-get install librsvg2-bin imagemagick python3
set -euo pipefail
cd "$(dirname "$0")"
source=../../web-ui/page/icon.svg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for program in rsvg-convert convert python3; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install librsvg2-bin imagemagick python3" >&2
        exit 1
    }
done

png() { # SVG SIDE OUT
    rsvg-convert --width "$2" --height "$2" "$1" --output "$work/out.png"
    # Without dates and comments the same drawing gives the same bytes; always RGBA, which is all that Tauri reads.
    convert "$work/out.png" -strip -define png:exclude-chunks=date,time "PNG32:$3"
}

# Linux: the window, the menus, the package.
png $source 32 32x32.png
png $source 128 128x128.png
png $source 256 256x256.png
png $source 512 icon.png

# Windows: 32 first, because that is the one a window without a scale asks for.
for side in 32 16 24 48 64 256; do
    png $source $side "$work/ico-$side.png"
    ico+=("$work/ico-$side.png")
done
convert "${ico[@]}" icon.ico

# macOS: its icons leave a margin, 100 of 1024 pixels on each side, so that all have the same weight in the Dock.
mkdir "$work/mac"
inner=$(sed -e 's/^<svg /<svg x="3.125" y="3.125" width="25.75" height="25.75" /' $source)
printf '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">%s</svg>' "$inner" >"$work/mac.svg"
for side in 32 64 128 256 512 1024; do
    png "$work/mac.svg" $side "$work/mac/$side.png"
done
python3 icns.py icon.icns "$work/mac"

# The tray: the waves and the lines without their plate. `template` is black on nothing, which macOS colours itself;
# `light` and `dark` are for panels that are light or dark; `active` says, on any panel, that somebody is being heard.
tray() { # NAME COLOUR DOT
    sed -e "s/currentColor/$2/g" -e "s/class=\"dot\" opacity=\"0\"/class=\"dot\" opacity=\"$3\"/g" tray.svg >"$work/tray.svg"
    png "$work/tray.svg" 32 "tray-$1.png"
    png "$work/tray.svg" 64 "tray-$1@2x.png"
}
tray template '#000000' 0
tray template-active '#000000' 1
tray light '#16202a' 0
tray dark '#ffffff' 0
active=$(sed -e 's|</svg>|<circle cx="26" cy="6" r="6" fill="#fff"/><circle cx="26" cy="6" r="4.4" fill="#d6332a"/></svg>|' $source)
printf '%s' "$active" >"$work/active.svg"
png "$work/active.svg" 32 tray-active.png
png "$work/active.svg" 64 tray-active@2x.png
