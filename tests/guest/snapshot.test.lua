-- Snapshots, restores and forks (spec 7.8, 19): what a saved guest is when it goes on.
local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
end

local function uptime(vm)
	return tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+"))
end

local function new(name)
	return provium:vm(name or "r", "linux")
end

-- One guest is prepared for all tests: a value in a tmpfs, and a process that counts and looks whether time goes back. Its clock begins in
-- 2001.
provium.timeout = "5m"
local vm = provium:vm("v", "linux", {memory = "160M", cpus = 2, initial_time = 1e9}):boot()
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
vm:write_file("/t/value", "kept")
-- Nothing is started for a pause: processes are expensive on an emulated host.
vm:write_file("/t/work.sh", [[
mkfifo /t/pause; exec 3<>/t/pause
i=0 last=0
while :; do
	i=$((i+1)); echo $i. > /t/count
	read now rest < /proc/uptime
	now=${now%.*}${now#*.}
	[ $now -ge $last ] || echo "$last then $now" >> /t/back
	last=$now
	read -t 1 -u 3 rest
done]])
vm:run("setsid sh /t/work.sh < /dev/null > /dev/null 2>&1 &"):assert_ok()
local function count(guest)
	return tonumber(guest:read_file("/t/count"):match("^(%d+)%.")) or 0
end
wait_until(function() return vm:stat("/t/work.sh") and pcall(vm.stat, vm, "/t/count") and count(vm) > 0 end)

local before, uptime_before = count(vm), uptime(vm)
local base = vm:snapshot()
local memory = vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)")

test("the saved guest goes on as it was", function(t)
	t:assert_eq(vm:state(), "booted")
	t:assert_eq(vm:read_file("/t/value"), "kept")
	local now = count(vm)
	wait_until(function() return count(vm) > now end)
	vm:pause()
	local paused = vm:snapshot()
	t:assert_eq(vm:state(), "paused")
	vm:resume()
	vm:run("true"):assert_ok()
	local r = new():restore(paused)
	t:assert_eq(r:state(), "booted")
	t:assert_eq(r:read_file("/t/value"), "kept")
end)

test("a value, a running process, memory, CPUs and profile come with the snapshot", function(t)
	local r = provium:vm("r", "linux", {memory = "64M"})
	t:assert_eq(r:restore(base), r)
	t:assert_eq(r:state(), "booted")
	t:assert_eq(r:profile(), "linux")
	t:assert_eq(r:read_file("/t/value"), "kept")
	t:assert_eq(r:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)"), memory)
	t:assert_eq(r:run("nproc").stdout, "2\n")
	local now = count(r)
	t:assert(now >= before, "the count went back from " .. before .. " to " .. now)
	wait_until(function() return count(r) > now end)
end)

test("two restores of one snapshot diverge", function(t)
	local a, b = new("a"):restore(base), new("b"):restore(base)
	a:write_file("/t/value", "of a")
	b:write_file("/t/value", "of b")
	t:assert_eq(a:read_file("/t/value"), "of a")
	t:assert_eq(b:read_file("/t/value"), "of b")
	t:assert_eq(vm:read_file("/t/value"), "kept")
end)

test("fork gives running copies side by side", function(t)
	local forks = vm:fork(3)
	t:assert_eq(#forks, 3)
	for i, fork in ipairs(forks) do
		t:assert_eq(fork:name(), "v#" .. i)
		t:assert_eq(fork:state(), "booted")
		t:assert_eq(provium["v#" .. i], fork)
		t:assert_eq(fork:read_file("/t/value"), "kept")
		fork:write_file("/t/value", "fork " .. i)
	end
	for i, fork in ipairs(forks) do
		local now = count(fork)
		t:assert_eq(fork:read_file("/t/value"), "fork " .. i)
		wait_until(function() return count(fork) > now end)
	end
	t:assert_eq(vm:read_file("/t/value"), "kept")
	local child = forks[2]:fork(1)[1]
	t:assert_eq(child:name(), "v#2#1")
	t:assert_eq(child:read_file("/t/value"), "fork 2")
end)

test("forks of the last test are gone", function(t)
	t:assert_eq(provium["v#1"], nil)
end)

test("restore after shutdown, and snapshots of a restored guest", function(t)
	local r = new():restore(base)
	r:write_file("/t/value", "second")
	local second = r:snapshot()
	r:shutdown()
	t:assert_eq(r:restore(second), r)
	t:assert_eq(r:read_file("/t/value"), "second")
	r:write_file("/t/value", "third")
	local third = r:snapshot()
	r:shutdown()
	r:restore(base)
	t:assert_eq(r:read_file("/t/value"), "kept")
	r:shutdown()
	r:restore(third)
	t:assert_eq(r:read_file("/t/value"), "third")
end)

test("guest time stands still while saved and never goes back", function(t)
	local r = new():restore(base)
	local now = uptime(r)
	t:assert(now >= uptime_before, "time went back from " .. uptime_before .. " to " .. now)
	-- The tests above took seconds at least, and this guest has lived through none of them.
	local parent = uptime(vm)
	t:assert(now < parent, "restored: " .. now .. " s, its parent: " .. parent .. " s")
	for _ = 1, 3 do
		local later = r:snapshot()
		now = uptime(r)
		r:shutdown()
		r:restore(later)
	end
	wait_until(function() return uptime(r) > now end)
	t:assert_eq(r:run("cat /t/back 2>&1").stdout:match("No such file"), "No such file")
	t:assert_eq(vm:run("cat /t/back 2>&1").stdout:match("No such file"), "No such file")
	t:assert_eq(r:run("dmesg | grep -i -e 'soft lockup' -e 'clocksource.*unstable' -e 'rcu.*stall'").stdout, "")
end)

test("the clock stays, or jumps to the host's when asked to", function(t)
	local stays = new("stays"):restore(base)
	t:assert_eq(stays:run("date +%Y").stdout, "2001\n")
	local jumps = new("jumps"):restore(base, {clock = "now"})
	local seconds = tonumber(jumps:run("date +%s").stdout)
	t:assert(math.abs(seconds - os.time()) < 120, "guest " .. seconds .. ", host " .. os.time())
	fails(t, 'opts.clock must be "now", got `then`', stays.restore, stays, base, {clock = "then"})
end)

test("every wrong state says so", function(t)
	local r = new()
	fails(t, "vm `r` not booted (cannot snapshot)", r.snapshot, r)
	fails(t, "vm `r` not booted (cannot snapshot)", r.fork, r, 1)
	r:restore(base)
	fails(t, "vm `r` already booted (cannot restore)", r.restore, r, base)
	r:pause()
	fails(t, "vm `r` is paused; use resume() (cannot restore)", r.restore, r, base)
	r:shutdown()
	fails(t, "vm `r` is shutdown; create a new one (cannot snapshot)", r.snapshot, r)
	fails(t, "vm `r` is shutdown; create a new one (cannot boot)", r.boot, r)
	fails(t, "must be a Snapshot or a path, got nil", r.restore, r, nil)
end)
