// Package holdfast keeps an application working while its Redis has no primary.
//
// Redis with replicas and automatic failover can end with every server a
// replica: all up, all answering PING and reads, and no write possible. This
// module wraps go-redis so that an application gets through that: its safe
// writes are accepted, kept on disk, visible to its own reads and answered as
// Redis would have; its unsafe ones are refused at once with a typed error; and
// when a primary returns, the same server or another, everything accepted
// reaches it once and in order per key, or is accounted for by name.
//
// All of the API is in package
// [github.com/holdfast-cache/holdfast/resilient]. The program that re-enacts the
// incident, plain go-redis beside Holdfast, is examples/incident.
package holdfast
