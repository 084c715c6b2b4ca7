package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// tlsFront is a listener that speaks TLS, demands a client certificate of its own
// authority, and hands on to a server that does not. It returns its address and
// the file of certificate and key, which serve both ends.
func tlsFront(t *testing.T, addr string) (front, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "holdfast test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: []string{"redis.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file = filepath.Join(t.TempDir(), "pair.pem")
	must(t, os.WriteFile(file, text, 0o600))
	pair, err := tls.X509KeyPair(text, text)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})
	must(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
			wg.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		}
	})
	return l.Addr().String(), file
}

func TestReplayByTLSAndACL(t *testing.T) {
	dir := t.TempDir()
	left(t, dir, 3)
	g := redistest.StartT(t, redistest.Options{})
	must(t, g.Node(0).Client().Do(bg, "ACL", "SETUSER", "operator", "on", ">open sesame", "~*", "+@all").Err())
	front, file := tlsFront(t, g.Node(0).Addr())
	run := func(password string, args ...string) result {
		return invoke(map[string]string{"REDISCLI_AUTH": password}, append([]string{"replay", "--to", front, "--user", "operator", "--acks", "-1", dir}, args...)...)
	}
	pair := []string{"--tls", "--cert", file, "--key", file}
	for name, args := range map[string][]string{
		"no TLS":            nil,
		"unknown authority": append(pair[:len(pair):len(pair)], "--sni", "redis.test"),
		"another name":      append(pair[:len(pair):len(pair)], "--cacert", file),
		"no certificate":    {"--tls", "--cacert", file, "--sni", "redis.test"},
		"no such file":      append(pair[:len(pair):len(pair)], "--cacert", file+"x"),
	} {
		if r := run("open sesame", args...); r.code != exitFailed {
			t.Errorf("%s: exit code %d\n%s%s", name, r.code, r.out, r.err)
		}
	}
	right := append(pair[:len(pair):len(pair)], "--cacert", file, "--sni", "redis.test")
	if r := run("wrong", right...).want(t, exitFailed); !strings.Contains(r.err, "refuses AUTH: WRONGPASS") || strings.Contains(r.err, "wrong\n") {
		t.Errorf("a wrong password: %s", r.err)
	}
	infos, err := journal.Inspect(dir)
	must(t, err)
	if infos[0].Trimmed != 0 {
		t.Fatalf("something was sent: %+v", infos[0])
	}
	run("open sesame", append(right, "--dry-run")...).want(t, exitFine)
	run("open sesame", right...).want(t, exitFound) // dead letters
	infos, err = journal.Inspect(dir)
	must(t, err)
	if infos[0].Entries != 0 || infos[0].Dead == 0 {
		t.Fatalf("afterwards: %+v", infos[0])
	}
}

// Damage shows in ls, and verify says where.
func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	id := j.ID().String()
	must(t, j.Close())
	path := filepath.Join(dir, id, "00000000000000000004.seg")
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	if r := invoke(nil, "ls", dir).want(t, exitFound); !strings.Contains(r.out, "yes") {
		t.Errorf("ls: %s", r.out)
	}
	r := invoke(nil, "verify", dir).want(t, exitFound)
	for _, want := range []string{"DAMAGED", "missing, although acknowledged: 1 write, ", "1 damaged file\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in:\n%s", want, r.out)
		}
	}
	if r := invoke(nil, "verify", "--json", dir).want(t, exitFound); !strings.Contains(r.out, `"missing_from":`) {
		t.Errorf("verify --json: %s", r.out)
	}
	if r := invoke(nil, "show", dir).want(t, exitFine); strings.Count(r.out, "pending") != 3 {
		t.Errorf("what is whole is not shown:\n%s", r.out)
	}
}
