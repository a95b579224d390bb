-- Whole labs saved and restored with real guests (spec 5.6, 19, 23-5).
local function host(command)
	local pipe = assert(io.popen(command))
	local out = pipe:read("a")
	pipe:close()
	return out
end

local function fails(t, pattern, call, ...)
	local ok, err = pcall(call, ...)
	t:assert(not ok, "expected an error with `" .. pattern .. "`")
	t:assert_contains(tostring(err), pattern)
end

local root = provium
local web = root:lab("dc1"):vm("web", "linux", {memory = "128M", initial_time = 1e9})
local db = root:lab("dc2"):lab("rack"):vm("db", "linux", {memory = "160M", cpus = 2})
root.dc2:include(web)
root:boot()
for _, vm in ipairs({web, db}) do
	vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
	vm:write_file("/t/value", vm:name())
end
-- Work in flight: it goes on in every copy.
db:run("(i=0; while :; do i=$((i+1)); echo $i > /t/new; mv /t/new /t/count; sleep 0.05; done) >/dev/null 2>&1 &"):assert_ok()
db:run("until test -e /t/count; do sleep 0.05; done"):assert_ok()
local saved = root:snapshot()
-- Whether the guest's date is the host's; it began in 2001.
local function is_now(vm)
	return os.time() - tonumber(vm:run("date +%s").stdout) < 600
end
local dir = os.tmpname() .. ".lab"

test("a lab goes back in place, whatever became of its guests", function(t)
	local before = tonumber(db:read_file("/t/count"))
	web:write_file("/t/value", "changed")
	db:shutdown()
	root:restore(saved)
	t:assert_eq(web:read_file("/t/value"), "web")
	t:assert_eq(db:read_file("/t/value"), "db")
	t:assert_eq(db:state(), "booted")
	t:assert_eq(root.dc2.rack.db, db)
	t:assert_eq(root.dc2.web, web)
	wait_until(function() return tonumber(db:read_file("/t/count")) > before end)
	-- And once more, now that one of them runs on another machine.
	t:assert(not is_now(web), "the date jumped")
	web:pause()
	root:restore(saved, {clock = "now"})
	t:assert_eq(web:state(), "booted")
	t:assert_eq(web:read_file("/t/value"), "web")
	t:assert(is_now(web), "the date is not the host's: " .. web:run("date").stdout)
	t:assert(is_now(db), "the date is not the host's: " .. db:run("date").stdout)
end)

test("into another lab: copies, which live beside the saved ones", function(t)
	local copy = provium:lab("copy")
	t:assert_eq(copy:restore(saved), copy)
	t:assert_eq(copy.dc1.web, copy.dc2.web)
	t:assert_neq(copy.dc1.web, web)
	copy.dc1.web:write_file("/t/value", "of the copy")
	t:assert_eq(web:read_file("/t/value"), "web")
	t:assert_eq(copy.dc2.rack.db:run("nproc").stdout, "2\n")
	t:assert_eq(copy.dc2.rack.db:read_file("/t/value"), "db")
	fails(t, "lab:restore: vm name `dc1/web` already used in this lab, by another one than was saved", copy.restore, copy, saved)
	t:assert_eq(copy.dc1.web:read_file("/t/value"), "of the copy")
end)

test("a directory, which may be moved", function(t)
	t:assert_eq(root:snapshot(dir), dir)
	t:assert_eq(host("ls -A " .. dir), "dc1_web.snap\ndc2_rack_db.snap\nlab.json\n")
	t:assert_eq(host("grep -c /tmp " .. dir .. "/lab.json"), "0\n")
	host("mv " .. dir .. " " .. dir .. ".moved")
	dir = dir .. ".moved"
	fails(t, "lab:restore: lab `dc1`: sub-lab name already declared at a parent scope", provium.restore, provium, dir)
	t:assert_eq(#provium:members(), 0)
	local moved = provium:lab("moved"):restore(dir, {clock = "now"}).dc1.web
	t:assert_eq(moved:read_file("/t/value"), "web")
	t:assert(is_now(moved), "the date is not the host's: " .. moved:run("date").stdout)
end)

test("a file's lab is not overwritten by a directory", function(t)
	fails(t, "vm name `dc1/web` already used in this lab", root.restore, root, dir)
	web:run("true"):assert_ok()
	local copy = provium:lab("copy"):restore(dir)
	t:assert_eq(copy.dc2.rack.db:read_file("/t/value"), "db")
	t:assert_eq(copy.dc1.web:read_file("/t/value"), "web")
	-- Its guests do not mind when the files go.
	host("rm -r " .. dir)
	t:assert_contains(copy.dc1.web:run("cat /bin/busybox /proc/version | tail -n 1").stdout, "Linux version")
	copy.dc1.web:reset()
	t:assert_eq(copy.dc1.web:run("cat /t/value").exit_code, 1)
end)

test("one in memory has a directory that leaves nothing behind", function(t)
	local list = "ls -A ${TMPDIR:-/tmp}"
	local there = host(list)
	t:assert(saved:size() > 288 * 1024 * 1024, "size " .. saved:size())
	t:assert_eq(host("ls -A " .. saved:path()), "dc1_web.snap\ndc2_rack_db.snap\nlab.json\n")
	provium:lab("copy"):restore(saved:path())
	t:assert_eq(provium.copy.dc1.web:read_file("/t/value"), "web")
	t:assert_eq(host(list), there)
	saved:delete()
	t:assert_eq(saved:size(), 0)
	fails(t, "lab:restore: snapshot", root.restore, root, saved)
	provium.copy.dc2.rack.db:run("true"):assert_ok()
end)

test("what is damaged is refused and changes nothing", function(t)
	local lab = provium:lab("l")
	lab:snapshot(dir)
	fails(t, "lab.json`: No such file or directory", lab.restore, lab, "/nowhere")
	local bad = root.dc1:snapshot(dir)
	host("chmod 600 " .. bad .. "/web.snap && truncate -s 5000 " .. bad .. "/web.snap")
	fails(t, "web.snap`: it is cut short", lab.restore, lab, bad)
	t:assert_eq(#lab:members(), 0)
	fails(t, "is created, not booted (cannot snapshot)", function()
		lab:vm("new", "linux")
		lab:snapshot(dir)
	end)
	host("rm -r " .. dir)
end)

test("a full disk leaves nothing behind", function(t)
	local small = os.tmpname() .. ".d"
	host("mkdir " .. small)
	if not os.execute("mount -t tmpfs -o size=4M none " .. small) then
		t:skip("no file system can be mounted here")
	end
	fails(t, ".snap`: cannot be written: No space left on device", root.snapshot, root, small .. "/lab")
	t:assert_eq(host("ls -A " .. small), "")
	web:run("true"):assert_ok()
	db:run("true"):assert_ok()
	host("umount " .. small .. " && rmdir " .. small)
end)
