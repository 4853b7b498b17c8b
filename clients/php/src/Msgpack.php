<?php

/**
 * Values to msgpack and back: what the protocol has, and nothing else. It knows no socket.
 *
 * A string that is UTF-8 becomes a str, any other a bin; `Bytes` says bin, `Map` says map. An array is what
 * array_is_list says. Objects and resources are refused, with the way to them in the message: a job that got something
 * else than it was given would be worse. No unserialize, in either direction, ever.
 *
 * What runs once for each value calls functions as `\chr`: PHP then compiles many of them to one instruction.
 */

declare(strict_types=1);

namespace Sidecar;

use InvalidArgumentException;
use Sidecar\Exception\ProtocolViolation;

final class Msgpack
{
    private const DEPTH = 128; // of a document that only the job opens; messages to the daemon have a limit of 32
    private const MANY = 16; // items in an array that is worth the loading of one more file

    private string $data;
    private int $at = 0;

    private function __construct(string $data)
    {
        $this->data = $data;
    }

    /**
     * Pack one value.
     *
     * @param string $name what the value is called in an error
     * @throws InvalidArgumentException naming the place of what msgpack does not have
     */
    public static function encode(mixed $value, string $name = 'value'): string
    {
        return self::pack($value, $name, self::DEPTH);
    }

    private static function pack(mixed $value, string $name, int $depth): string
    {
        if (\is_string($value)) {
            $size = \strlen($value);
            if (\preg_match('//u', $value) !== 1) {
                return self::bin($value);
            }
            if ($size < 32) {
                return \chr(0xa0 | $size) . $value;
            }
            return match (true) {
                $size < 0x100 => "\xd9" . \chr($size) . $value,
                $size < 0x10000 => "\xda" . \pack('n', $size) . $value,
                default => "\xdb" . \pack('N', $size) . $value,
            };
        }
        if (\is_int($value)) {
            return self::int($value);
        }
        if (\is_array($value)) {
            $packed = \count($value) < self::MANY ? null : Extension::packed($value, $depth);
            return $packed
                ?? (\array_is_list($value) ? self::list($value, $name, $depth) : self::map($value, $name, $depth));
        }
        return match (true) {
            $value === null => "\xc0",
            $value === false => "\xc2",
            $value === true => "\xc3",
            \is_float($value) => "\xcb" . \pack('E', $value),
            $value instanceof Map => self::map($value->entries, $name, $depth),
            $value instanceof Bytes => self::bin($value->bytes),
            default => throw self::refusal($value, $name),
        };
    }

    /** Return the header and the bytes of a bin. */
    public static function bin(string $bytes): string
    {
        $size = \strlen($bytes);
        return match (true) {
            $size < 0x100 => "\xc4" . \chr($size) . $bytes,
            $size < 0x10000 => "\xc5" . \pack('n', $size) . $bytes,
            default => "\xc6" . \pack('N', $size) . $bytes,
        };
    }

    /** Return the header of a map with that many keys. */
    public static function mapHeader(int $size): string
    {
        return match (true) {
            $size < 16 => \chr(0x80 | $size),
            $size < 0x10000 => "\xde" . \pack('n', $size),
            default => "\xdf" . \pack('N', $size),
        };
    }

    private static function int(int $value): string
    {
        if ($value >= 0) {
            return match (true) {
                $value < 0x80 => \chr($value),
                $value < 0x100 => "\xcc" . \chr($value),
                $value < 0x10000 => "\xcd" . \pack('n', $value),
                $value < 0x100000000 => "\xce" . \pack('N', $value),
                default => "\xcf" . \pack('J', $value),
            };
        }
        return match (true) {
            $value >= -0x20 => \chr($value & 0xff),
            $value >= -0x80 => "\xd0" . \chr($value & 0xff),
            $value >= -0x8000 => "\xd1" . \pack('n', $value & 0xffff),
            $value >= -0x80000000 => "\xd2" . \pack('N', $value & 0xffffffff),
            default => "\xd3" . \pack('J', $value),
        };
    }

    /** @param list<mixed> $items */
    private static function list(array $items, string $name, int $depth): string
    {
        self::checkDepth($depth, $name);
        $size = \count($items);
        $packed = match (true) {
            $size < 16 => \chr(0x90 | $size),
            $size < 0x10000 => "\xdc" . \pack('n', $size),
            default => "\xdd" . \pack('N', $size),
        };
        foreach ($items as $place => $item) {
            $packed .= self::pack($item, "{$name}[{$place}]", $depth - 1);
        }
        return $packed;
    }

    /** @param array<int|string, mixed> $entries */
    private static function map(array $entries, string $name, int $depth): string
    {
        self::checkDepth($depth, $name);
        $packed = self::mapHeader(\count($entries));
        foreach ($entries as $key => $item) {
            // PHP turns "7" into 7 before anybody can look: as a key both are the text again.
            $packed .= self::pack((string) $key, $name, 1) . self::pack($item, "{$name}['{$key}']", $depth - 1);
        }
        return $packed;
    }

    private static function checkDepth(int $depth, string $name): void
    {
        if ($depth <= 0) {
            throw new InvalidArgumentException(
                'cannot pack ' . substr($name, 0, 200) . '…: nested deeper than ' . self::DEPTH
                . ' levels, or an array that contains itself; pass flat values'
            );
        }
    }

    private static function refusal(mixed $value, string $name): InvalidArgumentException
    {
        $cure = match (true) {
            $value instanceof \DateTimeInterface => 'pass $value->getTimestamp() or $value->format(DATE_ATOM)',
            $value instanceof \BackedEnum => 'pass $value->value',
            $value instanceof \UnitEnum => 'pass $value->name',
            $value instanceof \Closure => 'pass the name of a function or a static method',
            $value instanceof \Traversable => 'pass iterator_to_array($value)',
            $value instanceof \JsonSerializable => 'pass $value->jsonSerialize()',
            $value instanceof \stdClass => 'pass (array) $value, or new Sidecar\Map((array) $value) if it may be empty',
            $value instanceof \Stringable => 'pass (string) $value',
            is_object($value) => 'pass its id, and load it again in the job',
            default => 'pass what it was opened from, such as a path',
        };
        return new InvalidArgumentException(
            'cannot pack ' . $name . ': it is ' . get_debug_type($value) . ", which is no msgpack type; {$cure}"
        );
    }

    /**
     * Unpack exactly one value. A bin and a str are both a string, a map is an array; an integer over PHP_INT_MAX is
     * its decimal digits as a string.
     *
     * @throws ProtocolViolation for anything else than one whole value
     */
    public static function decode(string $data): mixed
    {
        $reader = new self($data);
        $value = $reader->value(self::DEPTH);
        if ($reader->at !== strlen($data)) {
            $left = strlen($data) - $reader->at;
            throw new ProtocolViolation("cannot read message: {$left} bytes are left over");
        }
        return $value;
    }

    private function value(int $depth): mixed
    {
        $head = ord($this->take(1));
        return match (true) {
            $head < 0x80 => $head,
            $head >= 0xe0 => $head - 0x100,
            $head >= 0xa0 && $head < 0xc0 => $this->take($head & 0x1f),
            $head < 0x90 => $this->mapOf($head & 0x0f, $depth),
            $head < 0xa0 => $this->listOf($head & 0x0f, $depth),
            default => $this->headed($head, $depth),
        };
    }

    private function headed(int $head, int $depth): mixed
    {
        return match ($head) {
            0xc0 => null,
            0xc2 => false,
            0xc3 => true,
            0xc4, 0xd9 => $this->take($this->number('C', 1)),
            0xc5, 0xda => $this->take($this->number('n', 2)),
            0xc6, 0xdb => $this->take($this->number('N', 4)),
            0xca => $this->unpacked('G', 4),
            0xcb => $this->unpacked('E', 8),
            0xcc => $this->number('C', 1),
            0xcd => $this->number('n', 2),
            0xce => $this->number('N', 4),
            0xcf => $this->unsigned(),
            0xd0 => $this->signed($this->number('C', 1), 0x80),
            0xd1 => $this->signed($this->number('n', 2), 0x8000),
            0xd2 => $this->signed($this->number('N', 4), 0x80000000),
            0xd3 => $this->number('J', 8),
            0xdc => $this->listOf($this->number('n', 2), $depth),
            0xdd => $this->listOf($this->number('N', 4), $depth),
            0xde => $this->mapOf($this->number('n', 2), $depth),
            0xdf => $this->mapOf($this->number('N', 4), $depth),
            default => throw new ProtocolViolation(sprintf('cannot read message: 0x%02x begins no value here', $head)),
        };
    }

    private function take(int $size): string
    {
        $taken = substr($this->data, $this->at, $size);
        if (strlen($taken) !== $size) {
            throw new ProtocolViolation("cannot read message: it ends where {$size} more bytes should follow");
        }
        $this->at += $size;
        return $taken;
    }

    private function unpacked(string $format, int $size): int|float
    {
        return unpack($format, $this->take($size))[1];
    }

    private function number(string $format, int $size): int
    {
        return (int) $this->unpacked($format, $size);
    }

    private function signed(int $value, int $half): int
    {
        return $value < $half ? $value : $value - 2 * $half;
    }

    private function unsigned(): int|string
    {
        $value = $this->number('J', 8);
        return $value >= 0 ? $value : sprintf('%u', $value);
    }

    /** @return list<mixed> */
    private function listOf(int $size, int $depth): array
    {
        $this->checkSize($size, $depth);
        $items = [];
        while ($size-- > 0) {
            $items[] = $this->value($depth - 1);
        }
        return $items;
    }

    /** @return array<int|string, mixed> */
    private function mapOf(int $size, int $depth): array
    {
        $this->checkSize(2 * $size, $depth);
        $entries = [];
        while ($size-- > 0) {
            $key = $this->value($depth - 1);
            if (!is_string($key) && !is_int($key)) {
                throw new ProtocolViolation('cannot read message: a map key is ' . get_debug_type($key));
            }
            $entries[$key] = $this->value($depth - 1);
        }
        return $entries;
    }

    /** Refuse what cannot be there, before memory is taken for it. */
    private function checkSize(int $size, int $depth): void
    {
        if ($depth <= 0) {
            throw new ProtocolViolation('cannot read message: nested deeper than ' . self::DEPTH . ' levels');
        }
        if ($size > strlen($this->data) - $this->at) {
            throw new ProtocolViolation("cannot read message: it ends before the {$size} values that it announces");
        }
    }
}
