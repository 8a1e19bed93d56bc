package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// hashes are the stored hashes of a tree (tlog.StoredHashIndex) that was computed here, from the entries alone.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(h)) {
			return nil, fmt.Errorf("hash %d is not in the tree", index)
		}
		found[i] = h[index]
	}
	return found, nil
}

func check(log Log, vkey string, samples int, older, proofs []string) (*Result, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	signed, err := log("checkpoint", maxCheckpointBytes)
	if err != nil {
		return nil, err
	}
	tree, err := openCheckpoint(signed, verifier)
	if err != nil {
		return nil, err
	}
	result := &Result{Origin: verifier.Name(), Size: tree.N, Root: tree.Hash.String(), Consistency: []int64{}}
	computed, err := rehash(log, tree.N, result)
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(tree.N, computed)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("root: the entries hash to %v, the checkpoint says %v", root, tree.Hash)
	}
	if err := compareTiles(log, tree.N, computed, result); err != nil {
		return nil, err
	}
	if err := proveSamples(log, tree, samples, computed, result); err != nil {
		return nil, err
	}
	for _, path := range older {
		if err := proveOlder(log, tree, path, verifier, result); err != nil {
			return nil, err
		}
	}
	for _, path := range proofs {
		if err := compareProof(path, verifier, computed, result); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return result, nil
}

// resource is the path of a tile in a log of C2SP tlog-tiles, which leaves the height out and says "entries".
func resource(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// rehash reads all entries out of their bundles and computes every hash of the tree.
func rehash(log Log, size int64, result *Result) (hashes, error) {
	var bundles []tlog.Tile
	var paths []string
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: tileHeight, L: -1, N: first / 256, W: int(min(256, size-first))}
		bundles, paths = append(bundles, tile), append(paths, resource(tile))
	}
	computed := make(hashes, 0, tlog.StoredHashCount(size))
	err := log.each(paths, maxBundleBytes, func(i int, data []byte) error {
		entries := 0
		for len(data) > 0 {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return fmt.Errorf("%s: ends inside an entry", paths[i])
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			more, err := tlog.StoredHashes(result.Entries, data[2:end], computed)
			if err != nil {
				return err
			}
			computed, data = append(computed, more...), data[end:]
			entries++
			result.Entries++
		}
		if entries != bundles[i].W {
			return fmt.Errorf("%s: has %d entries", paths[i], entries)
		}
		return nil
	})
	result.Bundles = len(bundles)
	return computed, err
}

// compareTiles compares all hash tiles of the tree, byte for byte, with what was computed.
func compareTiles(log Log, size int64, computed hashes, result *Result) error {
	tiles := tlog.NewTiles(tileHeight, 0, size)
	paths := make([]string, len(tiles))
	for i, tile := range tiles {
		paths[i] = resource(tile)
	}
	result.Tiles = len(tiles)
	return log.each(paths, 256*tlog.HashSize, func(i int, data []byte) error {
		expected, err := tlog.ReadTileData(tiles[i], computed)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, expected) {
			return fmt.Errorf("%s: is not what the entries hash to", paths[i])
		}
		return nil
	})
}

// tileReader is how a client reads tiles that has none of the entries.
type tileReader struct{ log Log }

func (r tileReader) Height() int                         { return tileHeight }
func (r tileReader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if data[i], err = r.log(resource(tile), 256*tlog.HashSize); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// proveSamples makes and checks inclusion proofs from the log's tiles, which the reader holds against the root.
func proveSamples(log Log, tree tlog.Tree, samples int, computed hashes, result *Result) error {
	reader := tlog.TileHashReader(tree, tileReader{log.cached()})
	count := min(int64(samples), tree.N)
	for i := range count {
		index := i
		if count > 1 {
			index = i * (tree.N - 1) / (count - 1)
		}
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return fmt.Errorf("inclusion of %d: %w", index, err)
		}
		leaf := computed[tlog.StoredHashIndex(0, index)]
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("inclusion of %d: %w", index, err)
		}
	}
	result.Inclusion = int(count)
	return nil
}

// proveOlder shows that the tree of an older checkpoint is the beginning of this one.
func proveOlder(log Log, tree tlog.Tree, path string, verifier note.Verifier, result *Result) error {
	signed, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, err := openCheckpoint(signed, verifier)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if old.N < 1 || old.N > tree.N {
		return fmt.Errorf("%s: has size %d, the log has %d", path, old.N, tree.N)
	}
	proof, err := tlog.ProveTree(tree.N, old.N, tlog.TileHashReader(tree, tileReader{log}))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("consistency of %d with %d: %w", old.N, tree.N, err)
	}
	result.Consistency = append(result.Consistency, old.N)
	return nil
}

// compareProof checks a proof by itself, and then that it is about this log.
func compareProof(path string, verifier note.Verifier, computed hashes, result *Result) error {
	tree, index, leaf, err := checkProofFile(path, verifier)
	if err != nil {
		return err
	}
	if tree.N > result.Size {
		return fmt.Errorf("is of size %d, the log has %d", tree.N, result.Size)
	}
	root, err := tlog.TreeHash(tree.N, computed)
	if err != nil {
		return err
	}
	if root != tree.Hash || computed[tlog.StoredHashIndex(0, index)] != leaf {
		return errors.New("is of another log")
	}
	result.Proofs++
	return nil
}
