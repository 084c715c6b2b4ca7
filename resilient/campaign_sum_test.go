package resilient_test

import "fmt"

// campaignSum is what is told of a campaign, or of several.
type campaignSum struct {
	name                                      string
	kills                                     [killKinds]int
	adopted, missed, unasked                  int
	deferred, estimated, live, doubt, refused int
	unconfirmed                               uint64
	verdict                                   campaignVerdict
}

func (s *campaignSum) add(o *campaignSum) {
	for kind, n := range o.kills {
		s.kills[kind] += n
	}
	s.adopted, s.missed, s.unasked = s.adopted+o.adopted, s.missed+o.missed, s.unasked+o.unasked
	s.deferred, s.estimated, s.live = s.deferred+o.deferred, s.estimated+o.estimated, s.live+o.live
	s.doubt, s.refused, s.unconfirmed = s.doubt+o.doubt, s.refused+o.refused, s.unconfirmed+o.unconfirmed
	v, w := &s.verdict, &o.verdict
	v.missing, v.doubled, v.misordered, v.wrong = v.missing+w.missing, v.doubled+w.doubled, v.misordered+w.misordered, v.wrong+w.wrong
	v.lost, v.made = v.lost+w.lost, v.made+w.made
}

func (s *campaignSum) String() string {
	v := &s.verdict
	return fmt.Sprintf("%s: %d kills (client %d, primary %d, both %d; %d taken over by a running process; %d drains over before; %d failovers more by the servers themselves) | "+
		"%d deferred (%d replies estimated), %d live, %d in doubt, %d refused | "+
		"missing %d, doubled %d, misordered %d, wrong %d | unconfirmed %d, live writes lost by Redis %d, found of those in doubt or untold %d",
		s.name, s.kills[killClient]+s.kills[killPrimary]+s.kills[killBoth],
		s.kills[killClient], s.kills[killPrimary], s.kills[killBoth], s.adopted, s.missed, s.unasked,
		s.deferred, s.estimated, s.live, s.doubt, s.refused,
		v.missing, v.doubled, v.misordered, v.wrong, s.unconfirmed, v.lost, v.made)
}
