// Command checker verifies a log that Lineage Ledger wrote, with nothing that Lineage Ledger wrote: the tree and its
// tiles by golang.org/x/mod/sumdb/tlog, the signatures by golang.org/x/mod/sumdb/note, the rest by the standard library.
//
// It reads every entry, so it shows what a log of C2SP tlog-tiles can show: each bundle, each hash tile and the root
// of the checkpoint are what the entries hash to. Exit status 0: all of it checks; 1: something does not; 2: usage.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

// Result says what was checked, and how much of it.
type Result struct {
	Origin      string  `json:"origin"`
	Size        int64   `json:"size"`
	Root        string  `json:"root"`
	Entries     int64   `json:"entries"`
	Bundles     int     `json:"bundles"`
	Tiles       int     `json:"tiles"`
	Inclusion   int     `json:"inclusion_proofs"`
	Consistency []int64 `json:"consistent_with"`
	Proofs      int     `json:"proof_files"`
}

type paths []string

func (p *paths) String() string         { return fmt.Sprint(*p) }
func (p *paths) Set(value string) error { *p = append(*p, value); return nil }

func main() {
	var older, proofs paths
	log := flag.String("log", "", "folder or http URL of the log")
	vkey := flag.String("vkey", "", "verifier key of the ledger")
	samples := flag.Int("samples", 1000, "inclusion proofs to make from the tiles and check, spread over the log")
	flag.Var(&older, "older", "file of an older checkpoint that the log must be consistent with; may be repeated")
	flag.Var(&proofs, "proof", "file of a tlog-proof, for the entry in FILE.entry; may be repeated")
	flag.Parse()
	if *log == "" || *vkey == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	result, err := check(open(*log), *vkey, *samples, older, proofs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
