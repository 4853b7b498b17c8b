<?php

/**
 * What a framework unserializes in the job is what the application packed on the page: signed there with its key, and
 * checked before it is opened. Who may hand off jobs, and does not know the key, cannot have an object made of his own.
 */

declare(strict_types=1);

namespace Sidecar\Bridge;

use InvalidArgumentException;
use Sidecar\GiveUp;

final class Signature
{
    /**
     * @param list<string> $keys the first one signs; the others are earlier ones, of jobs that still wait
     * @throws InvalidArgumentException when there is none
     */
    public function __construct(#[\SensitiveParameter] private readonly array $keys)
    {
        if ($keys === [] || in_array('', $keys, true)) {
            throw new InvalidArgumentException('the application has no key to sign its jobs with');
        }
    }

    public function of(string $text): string
    {
        return hash_hmac('sha256', $text, $this->keys[0]);
    }

    /** @throws GiveUp when it is not of this text by one of the keys */
    public function check(string $text, string $signature): void
    {
        foreach ($this->keys as $key) {
            if (hash_equals(hash_hmac('sha256', $text, $key), $signature)) {
                return;
            }
        }
        throw new GiveUp('refused: this job is not signed with the key of this application');
    }
}
