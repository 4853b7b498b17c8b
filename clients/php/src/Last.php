<?php

/**
 * What runs when all else of a script has run: its shutdown functions, with those that they registered in their turn,
 * and its destructors. A shutdown function cannot be that: after one that exits or throws PHP calls no other.
 *
 * PHP destroys objects in the order of their numbers: so this is the youngest, and when others were made meanwhile,
 * the next one is.
 */

declare(strict_types=1);

namespace Sidecar;

final class Last
{
    private static ?self $kept = null;

    private function __construct(private readonly Kernel $kernel, private readonly \Closure $work)
    {
    }

    /** Have something run when all else has. A fatal error keeps it from running, as it does any destructor. */
    public static function of(Kernel $kernel, \Closure $work): void
    {
        $older = [];
        do {
            $older[] = $object = new \stdClass(); // the first ones take the numbers of others that are gone
        } while (!$kernel->isYoungest($object));
        self::$kept = new self($kernel, $work);
    }

    public function __destruct()
    {
        if ($this === self::$kept) {
            $this->kernel->isYoungest($this) ? ($this->work)() : self::of($this->kernel, $this->work);
        }
    }
}
