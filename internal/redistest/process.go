package redistest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// guardScript starts the program given as its arguments, reports the program's
// process id on descriptor 3, waits until its standard input ends, and then
// kills the program and whatever that has forked.
//
//   - The program inherits descriptor 3 and the guard closes its own copy, so
//     the pipe behind it ends exactly when the program and its forks are gone.
//   - The guard waits for the program, which is its child, so that it does not
//     stay behind as a zombie where nobody reaps orphans. Its last kill is for
//     its own process group: forks of the program, and itself.
//   - The guard ignores polite signals: sent to both, they would leave the
//     program without a guard. The program is started before that, because
//     ignored signals are inherited, and reported after, so that nobody who knows
//     of it can meet a guard that does not ignore them yet.
//   - What the guard says about the end of its child has no place in the log.
const guardScript = `
"$@" </dev/null &
trap '' HUP INT TERM
echo $! >&3
exec 3>&-
exec 2>/dev/null
read -r x
kill -9 $!
wait $!
kill -9 0
`

// errGone is the answer to a signal for a process that has ended.
var errGone = errors.New("the process has ended")

// process is one run of a server program under a guard. It is safe for
// concurrent use.
type process struct {
	pid  int
	done chan struct{} // closed when the program, its forks and its guard are gone

	guard *exec.Cmd
	hold  *os.File // the guard kills the program when this closes

	mu       sync.Mutex
	released bool // guarded by mu: hold is closed, so pid may be another's by now
}

// startProcess runs argv in dir, its output going to out, and returns when the
// program's process id is known. That the program could be executed is not
// known then: if not, done closes and out has the shell's message.
func startProcess(dir string, argv []string, out io.Writer) (*process, error) {
	holdRead, hold, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("redistest: can't start %s: %w", argv[0], err)
	}
	defer holdRead.Close()
	life, lifeWrite, err := os.Pipe()
	if err != nil {
		hold.Close()
		return nil, fmt.Errorf("redistest: can't start %s: %w", argv[0], err)
	}
	defer lifeWrite.Close()

	guard := exec.Command("/bin/sh", append([]string{"-c", guardScript, "guard"}, argv...)...)
	guard.Dir = dir
	guard.Stdin = holdRead
	guard.Stdout = out
	guard.Stderr = out
	guard.ExtraFiles = []*os.File{lifeWrite}
	// A group of their own: the terminal's Ctrl-C is for our program, which may
	// want to end its servers in order, and the guard's last kill is for them alone.
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := guard.Start(); err != nil {
		hold.Close()
		life.Close()
		return nil, fmt.Errorf("redistest: can't start the guard of %s: %w", argv[0], err)
	}
	lifeWrite.Close() // our copy would keep life from ending

	p := &process{done: make(chan struct{}), guard: guard, hold: hold}
	reports := bufio.NewReader(life)
	line, err := reports.ReadString('\n')
	if err == nil {
		p.pid, err = strconv.Atoi(strings.TrimSpace(line))
	}
	go p.watch(life, reports)
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("redistest: the guard of %s did not report a process id: %w", argv[0], err)
	}
	return p, nil
}

// watch waits for the end of the program and then ends the guard. It is the
// only goroutine of a process and ends with it.
func (p *process) watch(life *os.File, reports io.Reader) {
	defer close(p.done)
	_, _ = io.Copy(io.Discard, reports) // ends when nobody holds descriptor 3 any more
	life.Close()
	p.release()
	_ = p.guard.Wait() // its status says only that it killed itself
}

// signal sends sig to the program.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released || p.pid <= 0 {
		return errGone
	}
	return syscall.Kill(p.pid, sig)
}

// kill ends the program by SIGKILL and returns when nothing of it is left.
func (p *process) kill() {
	// Ours first: it works even if someone has killed the guard.
	_ = p.signal(syscall.SIGKILL)
	p.release()
	<-p.done
}

// release tells the guard to finish.
func (p *process) release() {
	p.mu.Lock()
	first := !p.released
	p.released = true
	p.mu.Unlock()
	if first {
		p.hold.Close()
	}
}

// gone reports whether the program has ended.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stopped is nil when SIGSTOP has taken effect, which is a moment after it was
// sent. Without a Linux /proc it trusts that the moment has passed.
func (p *process) stopped() error {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/stat")
	if err != nil {
		return nil
	}
	// "pid (name) state …", and the name may contain anything.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	if strings.HasPrefix(rest, "T") {
		return nil
	}
	return errors.New("it still runs")
}
