-- Begins a lease of ARGV[2] anew for each part that the owner ARGV[1] still has: of the
-- models KEYS, each with its field and epoch from ARGV[3] on. Tells which they are.
local still, time = {}, now()
for i, key in ipairs(KEYS) do
  local field, epoch = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local part = read_part(key, field)
  still[i] = 0
  if part and part.owner == ARGV[1] and part.epoch == epoch then
    part.lease, part.at = tonumber(ARGV[2]), time
    write_part(key, field, part)
    still[i] = 1
  end
end
return still
