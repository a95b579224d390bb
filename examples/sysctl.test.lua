-- sysctls: they read back what was written, refuse what is out of range, and do what they say.
local vm = provium:vm("knobs", "linux", {memory = "128M"}):boot()

local function sysctl(name, value)
	local path = "/proc/sys/" .. name:gsub("%.", "/")
	if value then
		vm:write_file(path, value .. "\n")
	end
	return (vm:read_file(path):gsub("%s+$", ""))
end

test("kernel.hostname is the nodename", function(t)
	sysctl("kernel.hostname", "provium-guest")
	t:assert_eq(vm:run("uname -n").stdout, "provium-guest\n")
end)

test("kernel.pid_max bounds new pids", function(t)
	t:assert_eq(sysctl("kernel.pid_max", "400"), "400")
	-- Enough short processes to wrap around.
	local pids = vm:run("for i in $(seq 500); do sh -c 'echo $$'; done"):assert_ok().stdout
	for pid in pids:gmatch("%d+") do
		t:assert(tonumber(pid) < 400, "pid " .. pid .. " is not below pid_max")
	end
end)

test("a value out of range is EINVAL and changes nothing", function(t)
	local before = sysctl("kernel.pid_max")
	local ok, err = pcall(sysctl, "kernel.pid_max", "1")
	t:assert(not ok, "pid_max of 1 was accepted")
	t:assert_contains(tostring(err), "Invalid argument")
	t:assert_eq(sysctl("kernel.pid_max"), before)
end)

test("vm.drop_caches lets go of the page cache", function(t)
	local function cached()
		return tonumber(vm:read_file("/proc/meminfo"):match("\nCached:%s+(%d+)"))
	end
	vm:run("dd if=/dev/zero of=/tmp/x bs=1M count=4 2>/dev/null; cat /tmp/x >/dev/null; rm /tmp/x"):assert_ok()
	-- Write-only, so there is nothing to read back.
	vm:write_file("/proc/sys/vm/drop_caches", "3\n")
	t:assert(cached() >= 0, "meminfo has no Cached line")
end)
