// Package archtest holds no code, only tests over the source tree: which package
// imports which, what foreign modules the library needs, and how long a file may
// become. ARCHITECTURE.md draws the same import graph; this is where it is held.
package archtest
