<?php

declare(strict_types=1);

namespace Sidecar\Tests;

use InvalidArgumentException;
use PHPUnit\Framework\TestCase;
use Sidecar\Bytes;
use Sidecar\Extension;
use Sidecar\Map;
use Sidecar\Msgpack;

/** What ext-msgpack packs is what we pack, or it is not asked. No array here is large: `Msgpack` packs it by itself. */
final class ExtensionTest extends TestCase
{
    protected function setUp(): void
    {
        if (!extension_loaded('msgpack')) {
            $this->markTestSkipped('no php-msgpack here: only our own packing is tested');
        }
    }

    public function testItPacksTheSameBytes(): void
    {
        $text = (string) file_get_contents(__DIR__ . '/../../vectors.json');
        $vectors = json_decode($text, true, 512, JSON_THROW_ON_ERROR)['vectors'];
        $numbers = [];
        for ($power = 0; $power < 63; $power++) {
            foreach ([-1, 0, 1] as $more) {
                $numbers[] = [2 ** $power + $more, -(2 ** $power) + $more, (2 ** $power + $more) / 3];
            }
        }
        $same = 0;
        $others = [[PHP_INT_MIN, PHP_INT_MAX, INF, -0.0, null, true, false, '', [], [[]]]];
        foreach ([...$vectors, ...$numbers, ...$others] as $one) {
            $packed = Extension::packed($one, 128);
            $this->assertSame(bin2hex(Msgpack::encode($one)), bin2hex((string) $packed), json_encode($one) ?: '');
            $same++;
        }
        $this->assertGreaterThan(200, $same);
    }

    public function testItPacksTheSameBytesOfWhateverComes(): void
    {
        mt_srand(20261121);
        $packed = 0;
        for ($turn = 0; $turn < 3000; $turn++) {
            $value = self::anyArray(4);
            $bytes = Extension::packed($value, 128);
            if ($bytes !== null) {
                $this->assertSame(bin2hex(Msgpack::encode($value)), bin2hex($bytes));
                $packed++;
            }
        }
        $this->assertGreaterThan(500, $packed);
        $this->assertLessThan(2500, $packed);
    }

    /** @return iterable<string, array{array<mixed>}> */
    public static function otherwise(): iterable
    {
        yield 'an object' => [[[new \stdClass()]]];
        yield 'a resource' => [[[fopen('php://memory', 'r')]]];
        yield 'Bytes' => [[['key' => new Bytes('b')]]];
        yield 'a Map' => [[new Map([])]];
        yield 'what is no text' => [["\xff"]];
        yield 'halves of a character' => [["\xc3", "\xa4"]];
        yield 'a key that is no text' => [["\xff" => 1]];
        yield 'keys that are numbers' => [[[7 => 1]]];
        yield 'a list with a gap' => [array_filter([1, 2, 3], fn (int $number): bool => $number !== 2)];
    }

    /**
     * @dataProvider otherwise
     * @param array<mixed> $value
     */
    public function testWhatItPacksOtherwiseIsLeftToUs(array $value): void
    {
        $this->assertNull(Extension::packed($value, 128));
    }

    public function testAnArrayThatContainsItselfIsLeftToUs(): void
    {
        $array = [];
        $array['self'] = &$array;
        $this->assertNull(Extension::packed($array, 128));
        $this->assertNull(Extension::packed([[[]]], 2));
        $this->assertSame('919190', bin2hex((string) Extension::packed([[[]]], 3)));
    }

    public function testALargeArrayIsPackedByItAndWhatIsInItIsStillRefused(): void
    {
        $large = array_fill(0, 100, ['id' => 7, 'name' => 'wörld']);
        $this->assertSame(Extension::packed($large, 128), Msgpack::encode($large));
        $this->assertSame($large, Msgpack::decode(Msgpack::encode($large)));
        $large[41]['when'] = new \DateTime();
        $this->expectException(InvalidArgumentException::class);
        $this->expectExceptionMessage("args[41]['when']: it is DateTime");
        Msgpack::encode($large, 'args');
    }

    /** @return array<mixed> with fewer than sixteen items at each level */
    private static function anyArray(int $depth): array
    {
        $items = [];
        $isList = mt_rand(0, 1) === 0;
        for ($left = mt_rand(0, 6); $left > 0; $left--) {
            $key = mt_rand(0, 9) === 0 ? mt_rand(0, 99) : str_repeat('ä', mt_rand(0, 20)) . 'k';
            $items[$isList ? count($items) : $key] = self::anyValue($depth);
        }
        return $items;
    }

    private static function anyValue(int $depth): mixed
    {
        return match (mt_rand(0, $depth > 0 ? 6 : 5)) {
            0 => mt_rand(-300, 300) * 2 ** mt_rand(0, 40),
            1 => mt_rand() / 7,
            2 => str_repeat('x', mt_rand(0, 70000) >> mt_rand(0, 16)),
            3 => [null, true, false, INF][mt_rand(0, 3)],
            4 => mt_rand(0, 30) === 0 ? random_bytes(8) : 'wörld',
            5 => (string) mt_rand(),
            default => self::anyArray($depth - 1),
        };
    }
}
