package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is a certificate authority that lives as long as this program, and
// one certificate of its making for every server on loopback. It is constant
// and safe for concurrent use.
type Authority struct {
	pool *x509.CertPool
	ca   []byte // PEM, as are the others
	cert []byte
	key  []byte
}

// NewAuthority makes an authority and its certificate, both valid from an hour
// ago for two days.
func NewAuthority() (*Authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("redistest: no key for the certificate authority: %w", err)
	}
	ca := template("redistest authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("redistest: no certificate authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("redistest: no key for the servers: %w", err)
	}
	leaf := template("redistest server")
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	// A replica, a Sentinel and the bus of a Cluster dial with the same certificate.
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.IPAddresses, leaf.DNSNames = []net.IP{net.ParseIP(loopback)}, []string{"localhost"}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("redistest: no certificate for the servers: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("redistest: no key for the servers: %w", err)
	}
	a := &Authority{
		pool: x509.NewCertPool(),
		ca:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	a.pool.AppendCertsFromPEM(a.ca)
	return a, nil
}

func template(name string) *x509.Certificate {
	// Equal serial numbers of one issuer confuse some libraries.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
	}
}

// ClientConfig is what a client needs to trust the servers, by whatever loopback
// port it reaches them, and nothing else. Each call returns a new one.
func (a *Authority) ClientConfig() *tls.Config {
	return &tls.Config{RootCAs: a.pool, ServerName: loopback, MinVersion: tls.VersionTLS12}
}

// clientConfig is ClientConfig, or nil without an authority.
func (a *Authority) clientConfig() *tls.Config {
	if a == nil {
		return nil
	}
	return a.ClientConfig()
}

// Files of an authority in a server's directory.
const (
	caName   = "ca.pem"
	certName = "cert.pem"
	keyName  = "key.pem"
)

// install writes what a server needs into its directory, and returns the
// settings that make it listen by TLS alone and dial other servers by TLS.
func (a *Authority) install(dir string, port int) ([]string, error) {
	for name, text := range map[string][]byte{caName: a.ca, certName: a.cert, keyName: a.key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, fmt.Errorf("redistest: can't write a server's certificate: %w", err)
		}
	}
	return []string{
		"port 0",
		fmt.Sprintf("tls-port %d", port),
		"tls-ca-cert-file " + caName,
		"tls-cert-file " + certName,
		"tls-key-file " + keyName,
		"tls-auth-clients no",
		"tls-replication yes", // of a Sentinel: to its servers and the other Sentinels
	}, nil
}
