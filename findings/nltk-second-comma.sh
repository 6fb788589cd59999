#!/usr/bin/env bash
# nltk 3.10.4: of two commas between words the second one stays with the word behind it; of three none does.
#
# One would guess: NLTKWordTokenizer makes every comma between words a token, as it does with one. Seen: "a,b" is a , b;
# "a,,b" is a , ,b; "a,,,b" is a , , , b. Scores that count such words, as CMRC2018's script does, miss the word b.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nltk==3.10.4
cat > "$folder/commas.py" <<'PY'
from nltk.tokenize.destructive import NLTKWordTokenizer

split = NLTKWordTokenizer().tokenize
for text, seen in {"a,b": "a , b", "a,,b": "a , ,b", "a,,,b": "a , , , b"}.items():
    words = split(text)
    print(text, "->", words)
    assert words == seen.split(" ")
PY
"$folder/venv/bin/python" "$folder/commas.py"
echo "as stated"
