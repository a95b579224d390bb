-- Snapshots of snapshots: each holds what changed since the one before, and a guest that goes on from any of them finds all of it.
provium.timeout = "5m"
local vm = provium:vm("v", "linux", {memory = "160M"}):boot()
vm:run("mkdir -p /t && mount -t tmpfs none /t && dd if=/dev/urandom of=/t/0 bs=64k count=32 2>/dev/null"):assert_ok()

local function sums(guest)
	return guest:run("cd /t && sha256sum *"):assert_ok().stdout
end

-- Five generations: each has a file more, and a part of the first one overwritten.
local DEPTH <const> = 5
local snapshots, wanted = {[0] = vm:snapshot()}, {[0] = sums(vm)}
vm:shutdown()
local function descend()
	for i = 1, DEPTH do
		vm:restore(snapshots[i - 1])
		vm:run(("cd /t && dd if=/dev/urandom of=%d bs=64k count=4 2>/dev/null && dd if=/dev/urandom of=0 bs=4k seek=%d count=3 conv=notrunc 2>/dev/null")
			:format(i, i * 40)):assert_ok()
		wanted[i] = sums(vm)
		snapshots[i] = vm:snapshot()
		vm:shutdown()
	end
end
descend()

test("each generation is as it was", function(t)
	for _, i in ipairs({5, 0, 3, 1, 4, 2}) do
		local r = provium:vm("r" .. i, "linux"):restore(snapshots[i])
		t:assert_eq(sums(r), wanted[i])
		t:assert_eq(r:run("ls /t | wc -l"):assert_ok().stdout, (i + 1) .. "\n")
		r:shutdown()
	end
end)

test("forks of the last generation part", function(t)
	local r = provium:vm("r", "linux"):restore(snapshots[DEPTH])
	local forks = r:fork(3)
	for i, fork in ipairs(forks) do
		fork:run("cd /t && echo " .. i .. " > mark && cat mark 0 > both"):assert_ok()
	end
	for i, fork in ipairs(forks) do
		t:assert_eq(fork:read_file("/t/mark"), i .. "\n")
		t:assert_eq(fork:run("cd /t && rm mark both && sha256sum *"):assert_ok().stdout, wanted[DEPTH])
	end
	t:assert_eq(sums(r), wanted[DEPTH])
end)

test("a file of the last generation needs no other", function(t)
	local r = provium:vm("r", "linux"):restore(snapshots[DEPTH])
	local path = os.tmpname()
	r:snapshot(path)
	r:shutdown()
	local other = provium:vm("o", "linux"):restore(path)
	t:assert_eq(sums(other), wanted[DEPTH])
end)
