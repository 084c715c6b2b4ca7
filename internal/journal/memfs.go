package journal

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// memFS keeps files in memory, for a journal without a directory.
type memFS struct {
	mu    sync.Mutex          // guards files
	files map[string]*memFile // by name
}

func newMemFS() *memFS { return &memFS{files: make(map[string]*memFile)} }

func (m *memFS) create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f := new(memFile)
	m.files[name] = f
	return f, nil
}

func (m *memFS) open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f, nil
}

func (m *memFS) openRW(name string) (file, error) { return m.open(name) }

func (m *memFS) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memFS) rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memFS) list() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.files))
	for name := range m.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) syncDir() error { return nil }

const memChunk = 64 << 10

// memFile is a file in pieces, so that growing copies nothing.
type memFile struct {
	mu     sync.RWMutex // guards the fields below
	chunks [][]byte     // each memChunk long
	length int64
}

func (f *memFile) ReadAt(b []byte, off int64) (n int, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for n < len(b) && off < f.length {
		chunk := f.chunks[off/memChunk]
		chunk = chunk[:min(memChunk, f.length-off/memChunk*memChunk)]
		c := copy(b[n:], chunk[off%memChunk:])
		n += c
		off += int64(c)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for int64(len(f.chunks))*memChunk < off+int64(len(b)) {
		f.chunks = append(f.chunks, make([]byte, memChunk))
	}
	for n < len(b) {
		c := copy(f.chunks[off/memChunk][off%memChunk:], b[n:])
		n += c
		off += int64(c)
	}
	f.length = max(f.length, off)
	return n, nil
}

func (f *memFile) truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chunks = f.chunks[:min(int64(len(f.chunks)), (size+memChunk-1)/memChunk)]
	if rest := size % memChunk; rest > 0 && size < f.length {
		clear(f.chunks[len(f.chunks)-1][rest:])
	}
	f.length = min(f.length, size)
	return nil
}

func (f *memFile) allocate(int64, int64) error { return errors.ErrUnsupported }
func (f *memFile) sync() error                 { return nil }
func (f *memFile) close() error                { return nil }

func (f *memFile) size() (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.length, nil
}
