package backlog

// Waiting is about how many entries are not over.
func (s *Source) Waiting() int {
	if s.lanes == nil {
		return int(s.opts.Journal.Stats().Entries)
	}
	n := int64(0)
	for _, lane := range s.lanes.mine {
		n += max(s.lanes.state(lane).waiting.Load(), 0)
	}
	return int(n)
}
