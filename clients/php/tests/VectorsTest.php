<?php

declare(strict_types=1);

namespace Sidecar\Tests;

use PHPUnit\Framework\TestCase;
use Sidecar\Bytes;
use Sidecar\Map;
use Sidecar\Msgpack;

/** Every frame of clients/vectors.json: what it says, and the other way round. */
final class VectorsTest extends TestCase
{
    /** They have a str that is no UTF-8, or a str where this client has a bin: a client may, this one does not. */
    private const OTHER_BYTES = [
        'arguments packed into a str, as PHP has no bin',
        'a command whose words are no UTF-8, as bin and as str',
        'stdin as str with invalid UTF-8',
        'an environment, one value no UTF-8 and one empty',
        'an exception',
    ];

    /** @return iterable<string, array{\stdClass}> */
    public static function vectors(): iterable
    {
        foreach (self::read() as $vector) {
            yield $vector->name => [$vector];
        }
    }

    /** @return list<\stdClass> */
    private static function read(): array
    {
        $text = (string) file_get_contents(__DIR__ . '/../../vectors.json');
        return json_decode($text, false, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING)->vectors;
    }

    /** @dataProvider vectors */
    public function testWhatAVectorSaysIsRead(\stdClass $vector): void
    {
        if (!property_exists($vector, 'meaning')) {
            $this->assertTrue(isset($vector->error), 'a vector means something or is an error');
            return;
        }
        $meanings = self::isOneFrame($vector) ? [$vector->meaning] : $vector->meaning;
        foreach (self::messages($vector) as $number => $body) {
            $read = json_encode(self::shown(Msgpack::decode($body)));
            $this->assertSame(json_encode(self::plain($meanings[$number])), $read);
        }
    }

    public function testWhatIsMeantIsPackedAsInTheVectors(): void
    {
        $different = [];
        $same = 0;
        foreach (self::read() as $vector) {
            if (property_exists($vector, 'meaning') && self::isOneFrame($vector)) {
                $packed = Msgpack::encode(self::value($vector->meaning));
                if ($packed === self::messages($vector)[0]) {
                    $same++;
                } else {
                    $different[] = $vector->name;
                    $again = json_encode(self::shown(Msgpack::decode($packed)));
                    $this->assertSame(json_encode(self::plain($vector->meaning)), $again, $vector->name);
                }
            }
        }
        $this->assertSame(self::OTHER_BYTES, $different);
        $this->assertGreaterThan(50, $same);
    }

    /** @return list<string> */
    private static function messages(\stdClass $vector): array
    {
        $bytes = (string) hex2bin($vector->hex);
        if ($vector->transport === 'datagram') {
            return [$bytes];
        }
        $bodies = [];
        while ($bytes !== '') {
            $size = unpack('N', $bytes)[1];
            $bodies[] = substr($bytes, 4, $size);
            $bytes = substr($bytes, 4 + $size);
        }
        return $bodies;
    }

    private static function isOneFrame(\stdClass $vector): bool
    {
        return count(self::messages($vector)) === 1;
    }

    /** What the encoder is given for a meaning: Bytes and Map where PHP's own types would say something else. */
    private static function value(mixed $meaning): mixed
    {
        if (is_array($meaning)) {
            return array_map(self::value(...), $meaning);
        }
        if (!$meaning instanceof \stdClass) {
            return $meaning;
        }
        $map = (array) $meaning;
        return match (array_keys($map)) {
            ['$bin'] => new Bytes((string) hex2bin($map['$bin'])),
            ['$str'] => (string) hex2bin($map['$str']),
            ['$float'] => ['nan' => NAN, 'inf' => INF, '-inf' => -INF][$map['$float']],
            default => new Map(array_map(self::value(...), $map)),
        };
    }

    /** A meaning without what PHP does not tell apart once it is decoded. */
    private static function plain(mixed $meaning): mixed
    {
        if (is_array($meaning)) {
            return array_map(self::plain(...), $meaning);
        }
        if (!$meaning instanceof \stdClass) {
            return self::shown($meaning);
        }
        $map = (array) $meaning;
        return match (array_keys($map)) {
            ['$bin'] => self::shown((string) hex2bin($map['$bin'])),
            ['$str'] => self::shown((string) hex2bin($map['$str'])),
            ['$float'] => $map['$float'],
            default => array_map(self::plain(...), $map),
        };
    }

    /** A decoded value as JSON can show it. */
    private static function shown(mixed $value): mixed
    {
        return match (true) {
            is_array($value) => array_map(self::shown(...), $value),
            is_float($value) && is_nan($value) => 'nan',
            is_float($value) && is_infinite($value) => $value > 0 ? 'inf' : '-inf',
            is_float($value) => sprintf('%.17g', $value),
            is_string($value) => preg_match('/^\d{19,}$/', $value) ? $value : bin2hex($value),
            default => $value,
        };
    }
}
