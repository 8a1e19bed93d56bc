package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	maxBundleBytes     = 256 * (2 + 65535)
	maxCheckpointBytes = 1_000_000
	parallel           = 16
)

// A Log gives the bytes of the resources of a log, by their paths.
type Log func(path string, atMost int64) ([]byte, error)

// open gives the log in a folder, or the one that a web server serves.
func open(where string) Log {
	if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		return func(path string, atMost int64) ([]byte, error) {
			file, err := os.Open(filepath.Join(where, filepath.FromSlash(path)))
			if err != nil {
				return nil, err
			}
			defer file.Close()
			return readAll(path, file, atMost)
		}
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: parallel}}
	return func(path string, atMost int64) ([]byte, error) {
		response, err := client.Get(strings.TrimSuffix(where, "/") + "/" + path)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", path, response.Status)
		}
		return readAll(path, response.Body, atMost)
	}
}

func readAll(path string, from io.Reader, atMost int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, atMost+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > atMost {
		return nil, fmt.Errorf("%s: more than %d bytes", path, atMost)
	}
	return data, nil
}

// each reads the resources at paths, several at once, and gives them to use one after the other, in order.
func (log Log) each(paths []string, atMost int64, use func(i int, data []byte) error) error {
	for start := 0; start < len(paths); start += 4 * parallel {
		window := paths[start:min(start+4*parallel, len(paths))]
		data, errs := make([][]byte, len(window)), make([]error, len(window))
		var workers sync.WaitGroup
		for worker := range parallel {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for i := worker; i < len(window); i += parallel {
					data[i], errs[i] = log(window[i], atMost)
				}
			}()
		}
		workers.Wait()
		for i := range window {
			if errs[i] != nil {
				return errs[i]
			}
			if err := use(start+i, data[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// cached is the same log, each resource read once.
func (log Log) cached() Log {
	known := map[string][]byte{}
	return func(path string, atMost int64) ([]byte, error) {
		if data, found := known[path]; found {
			return data, nil
		}
		data, err := log(path, atMost)
		if err == nil {
			known[path] = data
		}
		return data, err
	}
}
