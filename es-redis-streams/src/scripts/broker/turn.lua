-- One turn of the session ARGV[1], its ARGV[2]th, which has heard the answer to its ARGV[3]th:
-- its lease of ARGV[4] milliseconds begins anew, what it says is done, and it is handed ARGV[5]
-- messages at most; with -1 it leaves. The group keeps ARGV[6] dead letters, and has the order
-- ARGV[7] and parks as ARGV[8] says, or is another one of this name. If ARGV[9] is not -1, so
-- many numbers follow that the session knows of; then the number of those that it has handled,
-- these with their lanes, and then what it has to say of others.
local session, turn, answered = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local want, room, known = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[9])
local held = held_by(session)

if not order then
  return { redis.call('EXISTS', base .. ':forgotten') == 1 and 'forgotten' or 'gone' }
end
if order ~= ARGV[7] or parks ~= ARGV[8] then
  return { 'forgotten' }
end
local last = redis.call('HGET', turns, session)
if turn > 1 and not last then
  return { 'fenced' }
end
-- The server has lost its latest writes: numbers that the session has may mean others now.
if last and tonumber(last) < answered then
  dismiss(session, true)
  return { 'fenced' }
end
-- Another turn came before it, which was said to be the later one.
if last and tonumber(last) >= turn then
  return { 'late' }
end
local time = now()
redis.call('HSET', turns, session, turn)
redis.call('ZADD', sessions, time + tonumber(ARGV[4]), session)

for _, silent in ipairs(redis.call('ZRANGEBYSCORE', sessions, '-inf', time, 'LIMIT', 0, 10)) do
  dismiss(silent, true)
end
for _, due in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', time, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', later, due)
  make_ready(due)
end

local at = 10
if known >= 0 then
  match(held, at, known)
  at = at + known
end
local handled = tonumber(ARGV[at])
acknowledge(held, at + 1, handled)
settle(held, at + 1 + 2 * handled, room)
if want < 0 then
  dismiss(session, false)
end
take_ready(want, room, held)
take_incoming(want, room, held)

local left = redis.call('EXISTS', ready, incoming)
if left > 0 then
  ring()
end
local heard = taken.count < want and redis.call('XREVRANGE', bell, '+', '-', 'COUNT', 1)[1]
local first = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')[2]
local wait = first and math.max(first - time, 1) or -1
return {
  'done', left, wait, heard and heard[1] or '0-0',
  unsettled.fenced, unsettled.full, taken.lost, taken.list,
}
