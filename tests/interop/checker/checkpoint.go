package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const proofHeader = "c2sp.org/tlog-proof@v1"

// openCheckpoint verifies a signed checkpoint (C2SP tlog-checkpoint) and takes it apart.
func openCheckpoint(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("checkpoint: has other lines than origin, size and root: %q", opened.Text)
	}
	if lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint: its origin %q is not the name of the key", lines[0])
	}
	size, err := parseDecimal(lines[1])
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: size: %w", err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: root: %w", err)
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// checkProofFile checks a tlog-proof (C2SP) of the entry in the file beside it, and returns what it is about.
func checkProofFile(path string, verifier note.Verifier) (tree tlog.Tree, index int64, leaf tlog.Hash, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tree, 0, leaf, err
	}
	entry, err := os.ReadFile(path + ".entry")
	if err != nil {
		return tree, 0, leaf, err
	}
	head, signed, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != proofHeader || !strings.HasPrefix(lines[1], "index ") {
		return tree, 0, leaf, errors.New("tlog-proof: is not of the form of one")
	}
	if index, err = parseDecimal(strings.TrimPrefix(lines[1], "index ")); err != nil {
		return tree, 0, leaf, fmt.Errorf("tlog-proof: index: %w", err)
	}
	proof := make(tlog.RecordProof, 0, len(lines)-2)
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return tree, 0, leaf, fmt.Errorf("tlog-proof: %w", err)
		}
		proof = append(proof, hash)
	}
	if tree, err = openCheckpoint(signed, verifier); err != nil {
		return tree, 0, leaf, err
	}
	leaf = tlog.RecordHash(entry)
	if index >= tree.N {
		return tree, 0, leaf, fmt.Errorf("tlog-proof: index %d is not below the size %d", index, tree.N)
	}
	if err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
		err = fmt.Errorf("tlog-proof: %w", err)
	}
	return tree, index, leaf, err
}

func parseDecimal(text string) (int64, error) {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 || strconv.FormatInt(value, 10) != text {
		return 0, fmt.Errorf("%q is not a number as it is written", text)
	}
	return value, nil
}
