package engine

// partialSort sorts so much of the hits that the first n of all are in their
// places; hits[0] is the one at index from of all. Which of several places equally
// far away come first depends on the algorithm, so it is the one that servers
// have: the quicksort of Bentley and McIlroy ("Engineering a Sort Function",
// 1993), in the form in which BSD has it, that leaves out the parts nobody asks
// for.
func (q *geoQuery) partialSort(hits []geoHit, from, n int) {
	for len(hits) >= 7 {
		q.choosePivot(hits)
		less, more := q.partition(hits)
		if less > 1 && from < n {
			q.partialSort(hits[:less], from, n)
		}
		from += len(hits) - more
		hits = hits[len(hits)-more:]
		if more < 2 || from >= n {
			return
		}
	}
	for i := 1; i < len(hits); i++ {
		for j := i; j > 0 && q.compare(hits[j-1], hits[j]) > 0; j-- {
			hits[j-1], hits[j] = hits[j], hits[j-1]
		}
	}
}

// choosePivot puts a likely middle one to the front.
func (q *geoQuery) choosePivot(hits []geoHit) {
	n := len(hits)
	low, mid, high := 0, n/2, n-1
	if n > 7 {
		if n > 40 {
			d := n / 8
			low = q.median(hits, low, low+d, low+2*d)
			mid = q.median(hits, mid-d, mid, mid+d)
			high = q.median(hits, high-2*d, high-d, high)
		}
		mid = q.median(hits, low, mid, high)
	}
	hits[0], hits[mid] = hits[mid], hits[0]
}

func (q *geoQuery) median(hits []geoHit, a, b, c int) int {
	less := func(i, j int) bool { return q.compare(hits[i], hits[j]) < 0 }
	if less(a, b) {
		switch {
		case less(b, c):
			return b
		case less(a, c):
			return c
		}
		return a
	}
	switch {
	case less(c, b): // not b < c, but c < b
		return b
	case less(a, c):
		return a
	}
	return c
}

// partition puts what compares less than the first one before, and what compares
// more after what is equal to it, and returns how many these are. While it works,
// the equal ones are at the ends.
func (q *geoQuery) partition(hits []geoHit) (less, more int) {
	swap := func(i, j int) { hits[i], hits[j] = hits[j], hits[i] }
	n := len(hits)
	a, b, c, d := 1, 1, n-1, n-1
	for {
		for ; b <= c; b++ {
			r := q.compare(hits[b], hits[0])
			if r > 0 {
				break
			}
			if r == 0 {
				swap(a, b)
				a++
			}
		}
		for ; b <= c; c-- {
			r := q.compare(hits[c], hits[0])
			if r < 0 {
				break
			}
			if r == 0 {
				swap(c, d)
				d--
			}
		}
		if b > c {
			break
		}
		swap(b, c)
		b++
		c--
	}
	for i, k := 0, min(a, b-a); i < k; i++ {
		swap(i, b-k+i)
	}
	for i, k := 0, min(d-c, n-d-1); i < k; i++ {
		swap(b+i, n-k+i)
	}
	return b - a, d - c
}
