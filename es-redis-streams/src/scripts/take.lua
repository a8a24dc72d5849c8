-- Takes the part ARGV[1] for the owner ARGV[2] and a lease of ARGV[3]; ARGV[4] says
-- whether also from another whose lease has not ended.
local part, time = read_part(KEYS[1], ARGV[1]), now()
if not part then
  return false
end
-- A clock that was set back makes no lease longer.
local is_leased = part.lease > math.max(0, time - part.at)
if ARGV[4] ~= 'anyway' and is_leased and part.owner ~= ARGV[2] then
  return false
end
part.epoch = after(part.epoch)
part.owner, part.lease, part.at = ARGV[2], tonumber(ARGV[3]), time
write_part(KEYS[1], ARGV[1], part)
return { part.epoch, part.position }
