#!/usr/bin/env bash
# The last step of a release: seal.sh FOLDER NOTES. Writes FOLDER/SHA256SUMS over all bundles, signs it and the Linux bundles
# with GPG_PRIVATE_KEY (armoured; GPG_PASSPHRASE if it has one), and writes into NOTES what is not signed. Without the key
# nothing is signed, and that is said.
set -euo pipefail
folder=$1
notes=$(realpath -m "$2")
cd "$folder"

cat unsigned-*.txt 2>/dev/null | sort -u >"$notes.unsigned" || true
rm -f unsigned-*.txt
sha256sum -- * >../SHA256SUMS
mv ../SHA256SUMS .

if [ -n "${GPG_PRIVATE_KEY:-}" ]; then
    GNUPGHOME=$(mktemp -d)
    export GNUPGHOME
    trap 'gpgconf --kill gpg-agent; rm -rf "$GNUPGHOME"' EXIT
    printf '%s\n' "$GPG_PRIVATE_KEY" | gpg --batch --quiet --import
    for file in SHA256SUMS *.deb *.AppImage; do
        [ -e "$file" ] || continue
        printf '%s' "${GPG_PASSPHRASE:-}" |
            gpg --batch --quiet --pinentry-mode loopback --passphrase-fd 0 --armor --detach-sign "$file"
    done
else
    line='Linux: no signature, without GPG_PRIVATE_KEY; the checksums say only that the download is whole'
    echo "::warning title=Not signed::$line"
    echo "- $line" >>"$notes.unsigned"
fi

{
    echo 'From install to the first caption in five steps: docs/DESKTOP.md.'
    echo
    echo 'Every bundle stands in SHA256SUMS; what is linked into each is in its Subtide-*.cdx.json.'
    if [ -s "$notes.unsigned" ]; then
        printf '\nNot signed:\n\n'
        cat "$notes.unsigned"
    fi
} >"$notes"
rm -f "$notes.unsigned"
