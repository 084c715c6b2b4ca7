// The comparison is a module of its own, so that what it measures beside the
// replay is no dependency of the library.
module github.com/holdfast-cache/holdfast/bench/replay

go 1.26.0

require (
	github.com/holdfast-cache/holdfast v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/redis/rueidis v1.0.79
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/holdfast-cache/holdfast => ../..
