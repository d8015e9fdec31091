package main

import (
	"fmt"
	"strconv"
	"strings"

	"kuairelay/test/redisserver"
)

// isScript says whether a command is one that a relay sends to change something; almost all others run inside these.
func isScript(name string) bool {
	switch name {
	case "evalsha", "eval", "fcall":
		return true
	}
	return false
}

// usedMemory is what Redis holds for its data, in bytes: used_memory without the buffers of clients and append-only
// file.
func usedMemory(s *redisserver.Server) (float64, error) {
	info, err := s.Info("memory")
	if err != nil {
		return 0, err
	}
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(info[name], 64)
		return n
	}
	return number("used_memory") - number("mem_clients_normal") - number("mem_aof_buffer"), nil
}

// keysLua sums up MEMORY USAGE of the keys of each kind ({kuairelay}:b:<id> is kind b), and the lengths of bodies.
const keysLua = `
local kinds, cursor = {}, '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = string.match(key, '}:(%a+)') or 'other'
    local k = kinds[kind] or {0, 0, 0}
    kinds[kind] = k
    k[1], k[2] = k[1] + 1, k[2] + redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if kind == 'b' then k[3] = k[3] + redis.call('STRLEN', key) end
  end
until cursor == '0'
local out = {}
for kind, k in pairs(kinds) do out[#out + 1] = kind .. ' ' .. k[1] .. ' ' .. k[2] .. ' ' .. k[3] end
return out`

// keyKind is what the keys of one kind take.
type keyKind struct{ Keys, Bytes, Length float64 }

// keysOf looks at every key.
func keysOf(s *redisserver.Server) (map[string]keyKind, error) {
	text, err := s.Do("EVAL", keysLua, "0")
	if err != nil {
		return nil, err
	}
	out := make(map[string]keyKind)
	for line := range strings.Lines(text) {
		var kind string
		var k keyKind
		if _, err := fmt.Sscan(line, &kind, &k.Keys, &k.Bytes, &k.Length); err != nil {
			return nil, fmt.Errorf("read the sizes of keys: %w", err)
		}
		out[kind] = k
	}
	return out, nil
}
