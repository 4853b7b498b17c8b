<?php

/**
 * The system calls that a process forked for a job needs and PHP does not have, by way of FFI (in PHP's command line it
 * is allowed by default; Debian has it in php-common). Without FFI there is no template, and each job has a fresh php.
 */

declare(strict_types=1);

namespace Sidecar;

use FFI;

final class Kernel
{
    private const CLONE = ['x86_64' => 56, 'aarch64' => 220];
    private const CLONE_PARENT = 0x8000;
    private const SIGCHLD = 17;
    private const SIGKILL = 9;
    private const PR_SET_PDEATHSIG = 1;
    private const PR_SET_CHILD_SUBREAPER = 36;
    private const DESCRIPTORS = 3; // that come with an order to fork
    private const GLOBALS = 1536; // bytes of executor_globals that are searched; it has some 1,700
    private const OBJECTS = 100_000; // that are made at most to find where they are counted
    private const CERTAIN = 20; // objects in a row that were counted there
    private const CDEF = <<<'C'
        struct iovec { void *base; size_t size; };
        struct msghdr { void *name; unsigned int name_size; struct iovec *parts; size_t count; void *control;
                        size_t control_size; int flags; };
        long recvmsg(int fd, struct msghdr *message, int flags);
        long write(int fd, const char *data, size_t size);
        long read(int fd, char *data, size_t size);
        long pread(int fd, char *data, size_t size, long at);
        long pwrite(int fd, const char *data, size_t size, long at);
        long lseek(int fd, long at, int whence);
        int memfd_create(const char *name, unsigned int flags);
        int dup2(int from, int to);
        int close(int fd);
        int setsid(void);
        int getppid(void);
        int prctl(int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
        int waitpid(int pid, int *status, int options);
        long syscall(long number, ...);
        void _exit(int status);
        void php_free_shutdown_functions(void);
        void zend_objects_store_mark_destructed(void *objects);
        char *executor_globals;
        C;

    private readonly FFI $c;
    private readonly FFI\CData $buffer;
    private readonly FFI\CData $control;
    private readonly FFI\CData $part;
    private readonly FFI\CData $message;
    private readonly FFI\CData $memory;
    private readonly int $clone;
    private FFI\CData $objects; // how many there are
    private FFI\CData $status; // that PHP is to exit with

    public function __construct(int $room)
    {
        $this->clone = self::CLONE[php_uname('m')] ?? throw new \RuntimeException('this machine is not known');
        $size = self::GLOBALS;
        $this->c = FFI::cdef(strtr(self::CDEF, ['char *executor_globals' => "char executor_globals[{$size}]"]));
        $this->memory = $this->c->executor_globals;
        $this->buffer = $this->c->new("char[{$room}]");
        $this->control = $this->c->new('char[64]');
        $this->part = $this->c->new('struct iovec');
        $this->message = $this->c->new('struct msghdr');
        $this->part->base = FFI::addr($this->buffer[0]);
        $this->part->size = $room;
        $this->message->parts = FFI::addr($this->part);
        $this->message->count = 1;
        $this->message->control = FFI::addr($this->control[0]);
    }

    /**
     * Receive one packet and the descriptors that came with it.
     *
     * @return array{string, list<int>}|null null at the end
     */
    public function receive(int $fd): ?array
    {
        $this->message->control_size = 64;
        $size = $this->c->recvmsg($fd, FFI::addr($this->message), 0);
        if ($size <= 0) {
            return null;
        }
        $descriptors = [];
        if ($this->message->control_size >= 16 + 4 * self::DESCRIPTORS) {
            $descriptors = array_values(unpack('l' . self::DESCRIPTORS, FFI::string($this->control, 64), 16));
        }
        return [FFI::string($this->buffer, $size), $descriptors];
    }

    public function write(int $fd, string $data): void
    {
        $this->c->write($fd, $data, strlen($data));
    }

    /** Read once what a pipe holds, at most `$most` bytes (the constructor's room, or less); '' at its end. */
    public function read(int $fd, int $most): string
    {
        $size = $this->c->read($fd, FFI::addr($this->buffer[0]), $most);
        return $size > 0 ? FFI::string($this->buffer, $size) : '';
    }

    /** Read `$size` bytes of a file from `$at` on. */
    public function pread(int $fd, int $size, int $at): string
    {
        $data = $this->c->new("char[{$size}]");
        $this->c->pread($fd, $data, $size, $at);
        return FFI::string($data, $size);
    }

    public function pwrite(int $fd, string $data, int $at): void
    {
        $this->c->pwrite($fd, $data, strlen($data), $at);
    }

    public function close(int $fd): void
    {
        $this->c->close($fd);
    }

    public function dup2(int $from, int $to): void
    {
        $this->c->dup2($from, $to);
    }

    /** Put a memory file with these bytes in the place of a descriptor. */
    public function give(string $data, int $fd): void
    {
        $made = $this->c->memfd_create('data', 0);
        $this->write($made, $data);
        $this->c->lseek($made, 0, SEEK_SET);
        if ($made !== $fd) {
            $this->c->dup2($made, $fd);
            $this->c->close($made);
        }
    }

    /** Fork a child of our parent: the zygote waits for it, and owns it, as if it had forked it itself. */
    public function forkSibling(): int
    {
        return $this->c->syscall($this->clone, self::CLONE_PARENT | self::SIGCHLD, 0, 0, 0, 0);
    }

    /** Head a session, reap one's orphans, and go when the parent goes. False: it is gone already. */
    public function becomeAJob(int $parent): bool
    {
        $this->c->setsid();
        $this->c->prctl(self::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        $this->c->prctl(self::PR_SET_PDEATHSIG, self::SIGKILL, 0, 0, 0);
        return $this->c->getppid() === $parent;
    }

    public function parent(): int
    {
        return $this->c->getppid();
    }

    /** Forget the shutdown functions that are registered: they are the template's. */
    public function forgetShutdownFunctions(): void
    {
        $this->c->php_free_shutdown_functions();
    }

    /** End the process at once: no destructor, no shutdown function. */
    public function end(int $status): never
    {
        $this->c->_exit($status);
        throw new \LogicException('still here');
    }

    /**
     * Have no object that exists now run its destructor, in any process forked from here, however that ends: as PHP
     * itself does after a fatal error.
     */
    public function keepFromDestructors(): void
    {
        $place = 4 * ($this->placeOfTheNumberOfObjects() - 1);
        $this->objects = $this->c->cast('unsigned int *', FFI::addr($this->memory[$place]));
        $list = FFI::addr($this->memory[$place - 8]); // its pointer, how long it is, its room
        $this->c->zend_objects_store_mark_destructed($list);
    }

    /** Say whether no younger object is there; of those that are, PHP destroys the youngest last. */
    public function isYoungest(object $object): bool
    {
        return $this->objects[0] === spl_object_id($object) + 1; // no object is made for it
    }

    /** Where PHP counts its objects is not told either: make some, and look what goes up with their numbers. */
    private function placeOfTheNumberOfObjects(): int
    {
        $made = $places = [];
        for ($seen = 0; $seen < self::CERTAIN && count($made) < self::OBJECTS;) {
            $made[] = $object = new \stdClass(); // the first ones take the numbers of others that are gone
            $found = array_keys($this->globals('V*'), spl_object_id($object) + 1, true);
            $places = $seen === 0 ? $found : array_intersect($places, $found);
            $seen = $places === [] ? 0 : $seen + 1;
        }
        $found = $seen === self::CERTAIN && count($places) === 1;
        return $found ? end($places) : throw new \RuntimeException('this PHP does not show its objects');
    }

    /** @return array<int, int> what PHP knows of this process, as numbers; no object is made for it */
    private function globals(string $format): array
    {
        return unpack($format, FFI::string($this->memory, self::GLOBALS));
    }

    /**
     * Find where PHP keeps the status that it is to exit with, for `exitStatus`: no function tells it, and a process
     * that ends by `end` has to know. Two forked processes exit with a number each, and look where it is.
     */
    public function findExitStatus(): void
    {
        $places = array_values(array_intersect($this->placesOf(113), $this->placesOf(77)));
        if (count($places) !== 1) {
            throw new \RuntimeException('this PHP does not show its exit status');
        }
        $this->status = $this->c->cast('int *', FFI::addr($this->memory[4 * ($places[0] - 1)]));
    }

    public function exitStatus(): int
    {
        return $this->status[0];
    }

    /** @return list<int> */
    private function placesOf(int $status): array
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $pid = $this->c->syscall($this->clone, self::SIGCHLD, 0, 0, 0, 0);
        if ($pid === 0) {
            register_shutdown_function(function () use ($theirs, $status): void {
                fwrite($theirs, implode(' ', array_keys($this->globals('l*'), $status, true)));
                $this->end(0);
            });
            exit($status);
        }
        fclose($theirs);
        $places = (string) stream_get_contents($ours);
        $this->c->waitpid($pid, null, 0);
        return array_map('intval', explode(' ', $places));
    }
}
