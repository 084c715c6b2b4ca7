// Package tmpfs gives a test a real disk that is too small: a tmpfs of its own, in a
// process whose mounts are nobody else's. Linux only. It is test support: no package
// that users get imports it.
package tmpfs
